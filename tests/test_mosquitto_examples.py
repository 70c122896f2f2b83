"""deploy/mosquitto with a real Mosquitto: what is allowed works, what is forbidden is refused.

Whether a message was refused shows in what arrives: a 3.1.1 client is told nothing, and its publish is acknowledged.
"""

from __future__ import annotations

import datetime as dt
import json
import re
import signal
import socket
import ssl
import subprocess
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme
from brokers import PATIENCE_SECONDS, Mosquitto, MosquittoFactory, free_port, wait_until
from daemons import DEVICE, Daemon, Listener

from vire_edge.config import MqttConfig, load_config
from vire_edge.config.toml import dump_toml
from vire_edge.domain import Message
from vire_edge.errors import BrokerError
from vire_edge.messages import COMMANDS, Topics
from vire_edge.mqtt import MqttVersion
from vire_edge.mqtt.observer import Observer, Received

EXAMPLES = Path(__file__).parents[1] / "deploy" / "mosquitto"
BOX, OTHER = Topics("vire", DEVICE), Topics("vire", "other")
WITNESS = "user witness\ntopic readwrite #\n"
"""Sees everything that the broker lets through, and may say anything itself."""
OF_A_DEVICE = [
    *("availability", "state/room", "camera/room", "alerts", "alerts/active", "health", "summary/2026-06-01"),
    *(f"response/{verb}" for verb in COMMANDS),
]
ACTOR = {"name": "room", "source": "synthetic", "loop": True}


@dataclass(frozen=True)
class Home:
    """A broker as deploy/mosquitto sets it up, and the files to reach it."""

    broker: Mosquitto
    tls_port: int
    certificate_port: int
    certificates: Path

    def login(self, name: str, password: str | None = None) -> MqttConfig:
        """A password, over TLS."""
        return self._config(self.tls_port, {}, username=name, password=password or f"{name}'s secret")

    def certificate(self, name: str) -> MqttConfig:
        """A certificate instead of a password."""
        return self._config(self.certificate_port, {"cert_file": f"{name}.crt", "key_file": f"{name}.key"})

    def _config(self, port: int, own: dict[str, str], **settings: str) -> MqttConfig:
        files = {key: str(self.certificates / name) for key, name in ({"ca_file": "ca.crt"} | own).items()}
        return MqttConfig.model_validate({"host": "localhost", "port": port, "tls": files, **settings})


def settings_for(config: MqttConfig) -> dict[str, object]:
    """The daemon's settings for a broker."""
    given = config.model_dump(mode="json", exclude_unset=True)
    if config.password is not None:
        given["password"] = config.password.get_secret_value()
    return {f"mqtt__{key}": value if isinstance(value, str) else json.dumps(value) for key, value in given.items()}


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What make-certificates.sh makes, and what others made: an expired one, and one of another authority."""
    folder = tmp_path_factory.mktemp("certificates")
    assert make(folder, "localhost", DEVICE, "other", "caregiver", "lost").returncode == 0
    ours = trustme.CA.from_pem((folder / "ca.crt").read_bytes(), (folder / "ca.key").read_bytes())
    now = dt.datetime.now(dt.UTC)
    day = dt.timedelta(days=1)
    made = {
        "expired": ours.issue_cert(
            "expired.example", common_name=DEVICE, not_before=now - 2 * day, not_after=now - day
        ),
        "unknown": trustme.CA().issue_cert("unknown.example", common_name=DEVICE),
    }
    for name, leaf in made.items():
        leaf.cert_chain_pems[0].write_to_path(folder / f"{name}.crt")
        leaf.private_key_pem.write_to_path(folder / f"{name}.key")
    return folder


@pytest.fixture
def home(start_mosquitto: MosquittoFactory, certificates: Path, tmp_path: Path) -> Home:
    """Both examples in one broker, with the paths and ports of the test."""
    passwords, acl = tmp_path / "passwd", tmp_path / "vire-edge.acl"
    passwords.touch(mode=0o600)
    for name in (DEVICE, "other", "caregiver", "homeassistant", "witness", "lost"):
        subprocess.run(["mosquitto_passwd", "-b", passwords, name, f"{name}'s secret"], check=True, capture_output=True)
    rules = (EXAMPLES / "vire-edge.acl").read_text(encoding="utf-8")
    lost = "#user attic\n#topic deny #\n"
    assert lost in rules
    acl.write_text(rules.replace(lost, "user lost\ntopic deny #\n") + WITNESS)
    tls_port, certificate_port = free_port(), free_port()
    # In the order in which Mosquitto reads its conf.d.
    text = "\n".join(
        (EXAMPLES / name).read_text(encoding="utf-8") for name in ("vire-edge-certificates.conf", "vire-edge.conf")
    )
    for example, real in {
        "/etc/mosquitto/passwd": passwords,
        "/etc/mosquitto/vire-edge.acl": acl,
        "/etc/mosquitto/certs": certificates,
        "listener 1883 127.0.0.1": "",  # the test's own listener takes its place
        "listener 8883": f"listener {tls_port}",
        "listener 8884": f"listener {certificate_port}",
    }.items():
        assert example in text
        text = text.replace(example, str(real))
    broker = start_mosquitto(f"persistence_location {tmp_path}/", *text.splitlines())
    opened = "Opening ipv4 listen socket on port"
    wait_until(
        lambda: all(f"{opened} {port}" in broker.log for port in (tls_port, certificate_port)), what="the listeners"
    )
    return Home(broker, tls_port, certificate_port, certificates)


@pytest.fixture
def witness(home: Home) -> Iterator[Observer]:
    with Observer(home.login("witness"), "vire/#", "homeassistant/#", "else/#") as watching:
        watching.wait_subscribed(PATIENCE_SECONDS)
        yield watching


def topics_until(observer: Observer, last: str) -> list[str]:
    """The topics of what arrives, up to the last message that was sent."""
    topics: list[str] = []
    while last not in topics:
        message = observer.receive(PATIENCE_SECONDS)
        assert message is not None, f"{last} did not arrive; arrived: {topics}"
        if isinstance(message, Received):
            topics.append(message.topic)
    return topics


def say(speaker: Observer, *topics: str, retain: bool = False) -> None:
    for topic in topics:
        speaker.publish(Message(topic, b"{}", retain=retain))


# --- who may publish what ---------------------------------------------------------------------


@pytest.mark.parametrize("version", list(MqttVersion))
@pytest.mark.parametrize("way", ["login", "certificate"])
def test_a_device_publishes_under_its_own_prefix_alone(
    home: Home, witness: Observer, way: str, version: MqttVersion
) -> None:
    own = [*(f"{BOX.root}/{topic}" for topic in OF_A_DEVICE), f"homeassistant/device/{DEVICE}/config"]
    foreign = [
        *(f"{OTHER.root}/{topic}" for topic in OF_A_DEVICE),
        *(OTHER.command(verb) for verb in COMMANDS),
        *("homeassistant/device/other/config", f"homeassistant/sensor/{DEVICE}/config", "vire", "else/where"),
        *(f"vire/{DEVICE}x/alerts", f"vire/x{DEVICE}/alerts", f"else/{DEVICE}/alerts"),
    ]
    config = home.login(DEVICE) if way == "login" else home.certificate(DEVICE)
    with Observer(config, BOX.commands, first_version=version) as device:
        device.wait_subscribed(PATIENCE_SECONDS)
        say(device, *foreign, *own)
        assert topics_until(witness, own[-1]) == own


@pytest.mark.parametrize(
    ("name", "way"), [("caregiver", "login"), ("caregiver", "certificate"), ("homeassistant", "login")]
)
def test_who_cares_sends_commands_and_nothing_else(home: Home, witness: Observer, name: str, way: str) -> None:
    commands = [topics.command(verb) for topics in (BOX, OTHER) for verb in COMMANDS]
    forged = [f"vire/{device}/{topic}" for device in (DEVICE, "other", name) for topic in OF_A_DEVICE]
    config = home.login(name) if way == "login" else home.certificate(name)
    with Observer(config, "vire/#") as person:
        person.wait_subscribed(PATIENCE_SECONDS)
        say(person, *forged, "else/where", *commands)
        assert topics_until(witness, commands[-1]) == commands


def test_a_forged_message_is_not_kept_either(home: Home, witness: Observer) -> None:
    with Observer(home.login("caregiver"), "vire/#") as person:
        person.wait_subscribed(PATIENCE_SECONDS)
        say(person, OTHER.availability, BOX.active_alerts, retain=True)
        say(person, BOX.command("status"))
        topics_until(witness, BOX.command("status"))
    with Observer(home.login("caregiver"), "vire/#") as later:
        later.wait_subscribed(PATIENCE_SECONDS)
        say(witness, BOX.health)
        assert topics_until(later, BOX.health) == [BOX.health]


def die_leaving(home: Home, will: str) -> None:
    """Connect as "other" with a last will, and break off without a word."""
    command = [
        *("mosquitto_sub", "-h", "localhost", "-p", str(home.tls_port), "--cafile", f"{home.certificates}/ca.crt"),
        *("-u", "other", "-P", "other's secret", "-t", OTHER.commands, "-q", "1"),
        *("--will-topic", will, "--will-payload", "{}"),
    ]
    before = home.broker.log.count(OTHER.commands)
    with subprocess.Popen(command) as client:
        wait_until(lambda: home.broker.log.count(OTHER.commands) > before, what="the subscription")
        client.kill()


def test_a_last_will_is_no_way_around(home: Home, witness: Observer) -> None:
    for will in (BOX.availability, OTHER.availability):
        die_leaving(home, will)
    assert topics_until(witness, OTHER.availability) == [OTHER.availability]


# --- who may read what ------------------------------------------------------------------------


@pytest.mark.parametrize("version", list(MqttVersion))
@pytest.mark.parametrize("way", ["login", "certificate"])
def test_a_device_reads_its_own_commands_alone(home: Home, witness: Observer, way: str, version: MqttVersion) -> None:
    say(witness, *(f"{OTHER.root}/{topic}" for topic in OF_A_DEVICE), retain=True)
    say(witness, BOX.availability, retain=True)
    topics_until(witness, BOX.availability)
    config = home.login(DEVICE) if way == "login" else home.certificate(DEVICE)
    with Observer(config, "#", f"{OTHER.root}/#", "vire/+/alerts", BOX.commands, first_version=version) as device:
        device.wait_subscribed(PATIENCE_SECONDS)
        say(witness, OTHER.alerts, OTHER.command("pause"), BOX.alerts, "homeassistant/status", BOX.command("pause"))
        assert topics_until(device, BOX.command("pause")) == [BOX.command("pause")]


@pytest.mark.parametrize("name", ["caregiver", "homeassistant"])
def test_who_cares_reads_everything_of_every_device(home: Home, witness: Observer, name: str) -> None:
    said = [f"{device.root}/{topic}" for device in (BOX, OTHER) for topic in OF_A_DEVICE]
    with Observer(home.login(name), "vire/#", "else/#") as person:
        person.wait_subscribed(PATIENCE_SECONDS)
        say(witness, "else/where", *said)
        assert topics_until(person, said[-1]) == said


def test_a_device_that_was_lost_neither_speaks_nor_hears(home: Home, witness: Observer) -> None:
    for config in (home.login("lost"), home.certificate("lost")):
        with Observer(config, "#") as lost:
            lost.wait_subscribed(PATIENCE_SECONDS)
            say(lost, "vire/lost/availability")
            say(witness, "vire/lost/command/pause", BOX.alerts)
            wait_until(lambda: home.broker.log.count("Denied PUBLISH from vire-watch"), what="the refusal")
            assert topics_until(witness, BOX.alerts) == ["vire/lost/command/pause", BOX.alerts]
            assert not isinstance(lost.receive(0.2), Received)


# --- who comes in at all ----------------------------------------------------------------------


@pytest.mark.parametrize("version", list(MqttVersion))
def test_nobody_without_a_login_or_with_a_wrong_one(home: Home, version: MqttVersion) -> None:
    plain = home.broker.config()
    strangers = [
        plain,
        plain.model_copy(update={"username": DEVICE}),
        home.broker.config(username="nobody", password="x"),
        home.broker.config(username=DEVICE, password="other's secret"),
        home.login(DEVICE, "wrong"),
    ]
    for config in strangers:
        with Observer(config, "#", first_version=version) as stranger, pytest.raises(BrokerError, match="login"):
            stranger.wait_subscribed(PATIENCE_SECONDS)


@pytest.mark.parametrize(("name", "said"), [("expired", "certificate expired"), ("unknown", "unknown ca")])
def test_no_certificate_that_has_expired_or_that_another_authority_signed(home: Home, name: str, said: str) -> None:
    with Observer(home.certificate(name), "#") as stranger, pytest.raises(BrokerError, match=rf"(?i){said}"):
        stranger.wait_subscribed(PATIENCE_SECONDS)


def test_no_password_where_a_certificate_is_asked_for(home: Home) -> None:
    config = home.login(DEVICE).model_copy(update={"port": home.certificate_port})
    with Observer(config, "#") as stranger, pytest.raises(BrokerError, match="certificate"):
        stranger.wait_subscribed(PATIENCE_SECONDS)


def speaks_tls(port: int, version: ssl.TLSVersion, certificates: Path) -> bool:
    """Whether a server agrees to one version of TLS, with a client that insists on no more than that."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.load_cert_chain(certificates / f"{DEVICE}.crt", certificates / f"{DEVICE}.key")
    context.set_ciphers("ALL:@SECLEVEL=0")  # OpenSSL itself refuses 1.1 above that
    context.minimum_version = context.maximum_version = version
    try:
        with socket.create_connection(("127.0.0.1", port), 5.0) as plain, context.wrap_socket(plain) as encrypted:
            return encrypted.version() is not None
    except ssl.SSLError:
        return False


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_tls_1_1_is_refused_by_the_example_and_not_by_accident(
    home: Home, certificates: Path, start_mosquitto: MosquittoFactory
) -> None:
    for port in (home.tls_port, home.certificate_port):
        assert not speaks_tls(port, ssl.TLSVersion.TLSv1_1, certificates)
        assert speaks_tls(port, ssl.TLSVersion.TLSv1_2, certificates)
        assert speaks_tls(port, ssl.TLSVersion.TLSv1_3, certificates)
    files = (f"certfile {certificates}/server.crt", f"keyfile {certificates}/server.key")
    for least, agrees in (("tlsv1.1", True), ("tlsv1.2", False)):
        lax = start_mosquitto("allow_anonymous true", *files, f"tls_version {least}", "ciphers ALL:@SECLEVEL=0")
        assert speaks_tls(lax.port, ssl.TLSVersion.TLSv1_1, certificates) is agrees


def test_the_broker_has_nothing_against_the_settings(home: Home) -> None:
    assert not [line for line in home.broker.log.splitlines() if "recommended" in line or "deprecated" in line]


# --- the daemon itself ------------------------------------------------------------------------


@pytest.mark.parametrize("page", [EXAMPLES / "README.md", EXAMPLES.parents[1] / "README.md"], ids=["broker", "project"])
def test_a_device_of_the_documentation_has_its_login_as_its_name(page: Path, tmp_path: Path) -> None:
    blocks = re.findall(r"^```toml\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    examples = [tomllib.loads(block) for block in blocks]
    assert examples
    password = tmp_path / "password"
    password.write_text("correct horse\n")
    for example in examples:
        mqtt = example["mqtt"]
        login = mqtt.get("username") or Path(mqtt["tls"]["cert_file"]).stem
        assert example["device_id"] == login
        if "password_file" in mqtt:
            mqtt["password_file"] = str(password)
        file = tmp_path / "config.toml"
        file.write_text(dump_toml(example))
        assert load_config(file, environ={}).device_id == login


@pytest.mark.parametrize("way", ["login", "certificate"])
def test_the_daemon_does_all_that_it_does_and_nothing_of_it_is_refused(home: Home, tmp_path: Path, way: str) -> None:
    config = home.login(DEVICE) if way == "login" else home.certificate(DEVICE)
    settings = {**settings_for(config), "cameras": [ACTOR], "health__interval_seconds": "1"}
    with ExitStack() as running:
        listener = running.enter_context(Listener(home.login("caregiver")))
        daemon = running.enter_context(Daemon(tmp_path, settings))
        listener.wait_for("availability", lambda payload: payload["status"] == "online")
        listener.wait_for("state/room", lambda state: state["people"])
        listener.wait_for("health")
        listener.ask("pause", minutes=1)
        assert listener.wait_for("response/pause")["ok"] is True
        listener.wait_for("camera/room", lambda camera: camera["status"] == "disabled")
        daemon.send(signal.SIGKILL)
        daemon.wait()
        listener.wait_for("availability", lambda payload: payload["status"] == "offline")
    assert "Denied PUBLISH" not in home.broker.log
    assert "refuse" not in daemon.log


# --- the certificates' script -----------------------------------------------------------------


def make(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [str(EXAMPLES / "make-certificates.sh"), *(str(argument) for argument in arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_making_certificates_again_adds_what_is_missing_and_changes_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "certs"
    assert make(folder, "192.168.1.10", "hall").returncode == 0
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix != ".srl"}
    assert make(folder, "192.168.1.10", "hall", "kitchen").returncode == 0
    after = {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix != ".srl"}
    assert {name: after[name] for name in before} == before
    assert sorted(set(after) - set(before)) == ["kitchen.crt", "kitchen.key"]
    assert {path.stat().st_mode & 0o777 for path in folder.glob("*.key")} == {0o600}


@pytest.mark.parametrize("name", ["../hall", "", "a/b", "a b", "-x", "ca", "server", "a\nb"])
def test_a_login_that_is_no_name_is_refused(tmp_path: Path, name: str) -> None:
    refused = make(tmp_path / "certs", "broker.home", name)
    assert (refused.returncode, refused.stderr.startswith("error: ")) == (1, True)
    assert not (tmp_path / "certs").exists()


def test_the_scripts_are_clean() -> None:
    subprocess.run(["shellcheck", "--external-sources", EXAMPLES / "make-certificates.sh"], check=True)
