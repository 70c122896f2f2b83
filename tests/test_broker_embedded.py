"""The broker inside the daemon, with real clients of other makes."""

from __future__ import annotations

import logging
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from brokers import PATIENCE_SECONDS, free_port, wait_until
from devices import Device
from pydantic import SecretStr
from structlog.testing import capture_logs

from vire_edge.config import BrokerConfig, MqttConfig
from vire_edge.domain import Message, Severity
from vire_edge.errors import BrokerError
from vire_edge.messages import Topics
from vire_edge.mqtt import Connected, ConnectionStatus, MqttConnection, MqttVersion, RetryPolicy
from vire_edge.mqtt.embedded import STANDSTILL_SECONDS, EmbeddedBroker
from vire_edge.mqtt.embedded_plugins import MAX_RETAINED_TOPICS
from vire_edge.mqtt.observer import LinkChanged, Observer, Received

TOPICS = Topics("vire", "hall")
OFFLINE = Message(TOPICS.availability, b"offline", retain=True)
ONLINE = Message(TOPICS.availability, b"online", retain=True)
STOPPED = Message(TOPICS.availability, b"stopped", retain=True)
QUICK = RetryPolicy(answer_seconds=2.0, first_seconds=0.05, limit_seconds=0.2, stable_seconds=0.5)

StartBroker = Callable[..., EmbeddedBroker]


@pytest.fixture
def start_broker() -> Iterator[StartBroker]:
    started: list[EmbeddedBroker] = []

    def start(**settings: object) -> EmbeddedBroker:
        broker = EmbeddedBroker(BrokerConfig.model_validate({"port": free_port(), **settings}))
        started.append(broker)
        broker.start()
        return broker

    yield start
    for broker in started:
        assert broker.stop(timeout_seconds=10.0)


@pytest.fixture
def broker(start_broker: StartBroker) -> EmbeddedBroker:
    return start_broker()


def config_of(broker: EmbeddedBroker) -> MqttConfig:
    return broker.client_config(MqttConfig())


def connection_to(
    config: MqttConfig, *, version: MqttVersion = MqttVersion.V311, client_id: str = "vire-edge-hall"
) -> Device:
    connection = Device(
        config,
        client_id=client_id,
        command_filter=TOPICS.commands,
        will=lambda: OFFLINE,
        first_version=version,
        policy=QUICK,
    )
    connection.start()
    return connection


def until_connected(connection: MqttConnection) -> MqttVersion | None:
    """Wait for a connection; what is spoken on it."""
    while connection.events.get(timeout=PATIENCE_SECONDS) != Connected():
        pass
    return connection.stats().version


def alert(payload: bytes) -> Message:
    return Message(TOPICS.alerts, payload, severity=Severity.WARNING)


def payloads(observer: Observer, topic: str, *, count: int) -> list[bytes]:
    found: list[bytes] = []

    def look() -> bool:
        while len(found) < count and (received := observer.receive(0.05)) is not None:
            if isinstance(received, Received) and received.topic == topic:
                found.append(received.payload)
        return len(found) >= count

    wait_until(look, what=f"{count} messages on {topic}")
    return found


def test_states_alerts_and_commands_end_to_end(broker: EmbeddedBroker) -> None:
    config = config_of(broker)
    connection = connection_to(config)
    assert until_connected(connection) is MqttVersion.V311
    connection.publish(ONLINE)
    with Observer(config, "vire/+/#") as first, Observer(config, "#") as second:
        for observer in (first, second):
            observer.wait_subscribed(PATIENCE_SECONDS)
            # The retained state comes although it was published before.
            assert payloads(observer, TOPICS.availability, count=1) == [b"online"]
        for number in range(500):
            connection.alert(alert(str(number).encode()))
        expected = [str(number).encode() for number in range(500)]
        assert payloads(first, TOPICS.alerts, count=500) == expected
        assert payloads(second, TOPICS.alerts, count=500) == expected
        first.publish(Message(TOPICS.command("status"), b"{}"))
        command = connection.events.get(timeout=PATIENCE_SECONDS)
        assert command.verb == "status"  # type: ignore[union-attr]  # anything else fails the test
    stats = connection.stats()
    assert (stats.delivered, stats.queued, stats.unheard) == (500, 0, 0)
    assert connection.stop(STOPPED, timeout_seconds=5.0)


def test_a_client_gets_only_what_it_subscribed_to(broker: EmbeddedBroker) -> None:
    config = config_of(broker)
    with Observer(config, "#") as curious:
        curious.wait_subscribed(PATIENCE_SECONDS)
        curious.publish(Message("vire/hall/state/kitchen", b"private", retain=True))
        payloads(curious, "vire/hall/state/kitchen", count=1)
        with Observer(config, "vire/hall/alerts") as modest:
            modest.wait_subscribed(PATIENCE_SECONDS)
            curious.publish(Message("vire/hall/alerts", b"news"))
            first = [modest.receive(PATIENCE_SECONDS), modest.receive(PATIENCE_SECONDS)]
    assert [received.topic for received in first if isinstance(received, Received)] == ["vire/hall/alerts"]


@pytest.mark.parametrize("payload", [("-m", "{}"), ("-n",)], ids=["command", "deletion"])
def test_a_retained_command_is_neither_handed_on_nor_kept(broker: EmbeddedBroker, payload: tuple[str, ...]) -> None:
    config = config_of(broker)
    publish = ["mosquitto_pub", "-p", str(config.port), "-q", "1", *payload, "-t"]
    with Observer(config, TOPICS.commands) as watching:
        watching.wait_subscribed(PATIENCE_SECONDS)
        for arguments in ([TOPICS.command("pause"), "-r"], [TOPICS.command("status")]):
            subprocess.run([*publish, *arguments], check=True, timeout=PATIENCE_SECONDS)
        watching.receive(PATIENCE_SECONDS)  # that it is connected
        first = watching.receive(PATIENCE_SECONDS)
        assert isinstance(first, Received)
        assert first.topic == TOPICS.command("status")
    with Observer(config, TOPICS.commands) as late:
        late.wait_subscribed(PATIENCE_SECONDS)
        late.publish(Message(TOPICS.command("resume"), b"{}"))
        assert payloads(late, TOPICS.command("resume"), count=1) == [b"{}"]
    with Observer(config, TOPICS.command("pause")) as curious:
        curious.wait_subscribed(PATIENCE_SECONDS)
        assert isinstance(curious.receive(PATIENCE_SECONDS), LinkChanged)
        assert curious.receive(0.5) is None


def test_a_mqtt_5_client_is_refused_at_once_and_falls_back(broker: EmbeddedBroker) -> None:
    connection = connection_to(config_of(broker), version=MqttVersion.V5)
    began = time.monotonic()
    assert until_connected(connection) is MqttVersion.V311
    # Not by the two seconds after which silence counts as a refusal.
    assert time.monotonic() - began < 1.5
    connection.stop(STOPPED, timeout_seconds=5.0)
    config = config_of(broker)
    refused = subprocess.run(
        ["mosquitto_sub", "-V", "5", "-p", str(config.port), "-t", "#", "-i", "phone", "--will-topic", "w", "-E"],
        timeout=PATIENCE_SECONDS,
        check=False,
        capture_output=True,
    )
    assert refused.returncode != 0


def test_the_last_will_of_a_connection_that_breaks(broker: EmbeddedBroker) -> None:
    config = config_of(broker)
    connection = connection_to(config)
    until_connected(connection)
    connection.publish(ONLINE)
    with Observer(config, TOPICS.availability) as observer:
        assert payloads(observer, TOPICS.availability, count=1) == [b"online"]
        connection.stop(None, timeout_seconds=5.0)
        assert payloads(observer, TOPICS.availability, count=1) == [b"offline"]
    with Observer(config, TOPICS.availability) as late:
        assert payloads(late, TOPICS.availability, count=1) == [b"offline"]


def test_a_clean_stop_leaves_stopped_behind(broker: EmbeddedBroker) -> None:
    config = config_of(broker)
    connection = connection_to(config)
    until_connected(connection)
    connection.publish(ONLINE)
    assert connection.stop(STOPPED, timeout_seconds=5.0)
    with Observer(config, TOPICS.availability) as late:
        assert payloads(late, TOPICS.availability, count=1) == [b"stopped"]
        assert late.receive(0.3) is None or not isinstance(late.receive(0.1), Received)


def test_a_client_that_falls_silent_is_gone_after_its_keep_alive(broker: EmbeddedBroker) -> None:
    config = config_of(broker)
    connect = bytes.fromhex("101a 0004 4d515454 04 2e 0001 0005 70686f6e65 0001 77 0004 676f6e65")
    with Observer(config, "w") as observer, socket.create_connection((config.host, config.effective_port)) as phone:
        observer.wait_subscribed(PATIENCE_SECONDS)
        phone.sendall(connect)
        assert phone.recv(4) == bytes([0x20, 2, 0, 0])
        assert payloads(observer, "w", count=1) == [b"gone"]
        phone.settimeout(PATIENCE_SECONDS)
        assert phone.recv(1) == b""


@pytest.mark.parametrize(
    "nonsense",
    [b"GET / HTTP/1.1\r\n\r\n", b"\x10", b"\x10\xff\xff\xff\x7f" + b"x" * 64, b"\x10\x80\x80\x80\x80\x80\x80", b""],
    ids=["HTTP", "cut off", "giant", "malformed length", "nothing"],
)
def test_nonsense_at_the_door_harms_nobody(broker: EmbeddedBroker, nonsense: bytes) -> None:
    config = config_of(broker)
    with socket.create_connection((config.host, config.effective_port)) as visitor:
        visitor.sendall(nonsense)
        visitor.shutdown(socket.SHUT_WR)
        visitor.settimeout(PATIENCE_SECONDS)
        assert visitor.recv(16) in {b"", bytes([0x20, 2, 0, 1])}
    with Observer(config, "#") as observer:
        observer.wait_subscribed(PATIENCE_SECONDS)


def test_a_giant_packet_ends_its_connection_only(broker: EmbeddedBroker) -> None:
    config = config_of(broker)
    with Observer(config, "#") as observer:
        observer.wait_subscribed(PATIENCE_SECONDS)
        with socket.create_connection((config.host, config.effective_port)) as phone:
            phone.sendall(bytes.fromhex("1011 0004 4d515454 04 02 0000 0005 70686f6e65"))
            assert phone.recv(4) == bytes([0x20, 2, 0, 0])
            phone.sendall(b"\x30\xff\xff\x7f\x00\x01a")
            phone.settimeout(PATIENCE_SECONDS)
            assert phone.recv(1) == b""
        observer.publish(Message("still", b"here"))
        assert payloads(observer, "still", count=1) == [b"here"]


def test_a_login_is_asked_for(start_broker: StartBroker) -> None:
    broker = start_broker(username="app", password="correct horse")
    config = config_of(broker)
    with Observer(config, "#") as observer:
        observer.wait_subscribed(PATIENCE_SECONDS)
    for login in ({"password": SecretStr("wrong")}, {"username": "other"}, {"username": None, "password": None}):
        stranger = Observer(config.model_copy(update=login), "#")
        with stranger, pytest.raises(BrokerError, match="login"):
            stranger.wait_subscribed(PATIENCE_SECONDS)


def test_without_a_password_only_loopback_is_served() -> None:
    exposed = BrokerConfig().model_copy(update={"host": "0.0.0.0"})
    with pytest.raises(BrokerError, match=r"broker.host 0.0.0.0 opens the broker to the network; set broker.username"):
        EmbeddedBroker(exposed).start()


def test_a_port_in_use_is_named_with_its_remedy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        broker = EmbeddedBroker(BrokerConfig(port=port))
        with pytest.raises(BrokerError) as raised:
            broker.start()
    assert str(raised.value) == (
        f"127.0.0.1:{port} is in use; if vire-edge runs already, stop it or leave it; if it is another broker, set "
        'mqtt.host = "127.0.0.1" to use it, or broker.port to a free one'
    )
    assert not broker.alive


def test_an_address_of_another_machine_is_named() -> None:
    broker = EmbeddedBroker(
        BrokerConfig(host="192.0.2.1", port=free_port(), username="app", password=SecretStr("correct horse"))
    )
    with pytest.raises(BrokerError, match=r"192\.0\.2\.1:[0-9]+ is no address of this machine; set broker.host"):
        broker.start()


def test_ipv6_loopback(start_broker: StartBroker) -> None:
    broker = start_broker(host="::1")
    with Observer(config_of(broker), "#") as observer:
        observer.wait_subscribed(PATIENCE_SECONDS)


@pytest.mark.parametrize("pause_seconds", [0.0, 0.001, 0.01, 0.1])
def test_it_stops_quickly_whatever_its_clients_do(start_broker: StartBroker, pause_seconds: float) -> None:
    broker = start_broker()
    connections = [connection_to(config_of(broker), client_id=f"device-{number}") for number in range(5)]
    for connection in connections:
        until_connected(connection)
        for number in range(50):
            connection.alert(alert(str(number).encode()))
    threading.Event().wait(pause_seconds)
    assert broker.stop(timeout_seconds=5.0)
    for connection in connections:
        connection.stop(None, timeout_seconds=1.0)


def test_a_loop_that_takes_no_step_serves_nobody(broker: EmbeddedBroker) -> None:
    assert broker.complaint(time.monotonic()) == ""
    assert broker._loop is not None
    stuck = threading.Event()
    try:
        broker._loop.call_soon_threadsafe(stuck.wait)
        assert "has served nobody for" in broker.complaint(time.monotonic() + STANDSTILL_SECONDS + 2.0)
    finally:
        stuck.set()
    assert broker.stop(timeout_seconds=10.0)
    assert broker.complaint(time.monotonic()) == "has ended"


def test_clients_come_back_after_it_is_started_again(start_broker: StartBroker) -> None:
    broker = start_broker()
    config = config_of(broker)
    connection = connection_to(config)
    until_connected(connection)
    assert broker.stop(timeout_seconds=10.0)
    connection.alert(alert(b"1"))
    wait_until(lambda: connection.stats().status is not ConnectionStatus.CONNECTED, what="the end of the connection")
    broker.start()
    until_connected(connection)
    wait_until(lambda: connection.stats().delivered == 1, what="the alert")
    connection.stop(STOPPED, timeout_seconds=5.0)


def test_what_it_keeps_is_bounded(broker: EmbeddedBroker) -> None:
    config = config_of(broker)
    with capture_logs() as lines, Observer(config, "none") as client:
        client.wait_subscribed(PATIENCE_SECONDS)
        for number in range(MAX_RETAINED_TOPICS + 50):
            client.publish(Message(f"flood/{number}", b"x", retain=True))
        client.publish(Message("none", b"end"))
        payloads(client, "none", count=1)
        with Observer(config, "flood/#") as late:
            late.wait_subscribed(PATIENCE_SECONDS)
            payloads(late, f"flood/{MAX_RETAINED_TOPICS - 1}", count=1)
            assert late.receive(0.3) is None
    assert [line["event"] for line in lines if line["log_level"] == "warning"] == ["embedded_broker"]


def test_amqtt_says_nothing_of_each_packet(broker: EmbeddedBroker, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with Observer(config_of(broker), "#") as observer:
        observer.wait_subscribed(PATIENCE_SECONDS)
        observer.publish(Message("a", b"b"))
        payloads(observer, "a", count=1)
        assert isinstance(observer.receive(0.1), LinkChanged | None)
    assert [record for record in caplog.records if record.name.startswith(("amqtt", "transitions"))] == []


def test_a_daemon_with_a_broker_of_its_own_does_not_load_amqtt() -> None:
    program = "import sys, vire_edge.mqtt, vire_edge.mqtt.embedded; print('amqtt' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, timeout=60)
    assert answer.stdout.strip() == b"False"
