from __future__ import annotations

import os
import stat
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs
from typer.testing import CliRunner

from vire_edge.cli import app
from vire_edge.config import (
    Config,
    device_id,
    example_toml,
    load_config,
    migrate_file,
    redact_source,
    state_directory,
    warn_of_readers,
)
from vire_edge.config.migration import Migration, up_to_date
from vire_edge.config.toml import dump_toml, write_toml
from vire_edge.domain import AbsenceRule, CameraRule, DeviceRule, Emotion, SpikeRule, SustainedRule
from vire_edge.errors import ConfigError, ConfigUnavailableError, StorageError


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    return tmp_path / "config.toml"


def test_without_a_file_the_defaults_make_a_working_daemon() -> None:
    config = Config()
    assert [camera.source for camera in config.cameras] == [0]
    assert config.mqtt.host is None
    assert [type(alert.to_rule()) for alert in config.alerts] == [
        SustainedRule, SpikeRule, AbsenceRule, CameraRule, CameraRule, DeviceRule, DeviceRule, DeviceRule,
    ]  # fmt: skip


def test_the_example_explains_every_setting_and_changes_none(config_file: Path) -> None:
    text = example_toml()
    config_file.write_text(text)
    assert load_config(config_file, environ={}) == Config()
    assert "min_observed_seconds" in text
    assert "#keepalive_seconds = 20" in text
    assert tomllib.loads(text)["alerts"][0]["name"] == "distress"


def test_the_environment_goes_before_the_file(config_file: Path) -> None:
    config_file.write_text('[mqtt]\nhost = "broker"\nport = 1884\n')
    environ = {
        "VIRE_EDGE_MQTT__HOST": "other",
        "VIRE_EDGE_CAMERAS": '[{"name": "hall", "source": "synthetic"}]',
        "VIRE_EDGE_CONFIG": str(config_file),
        "PATH": "/bin",
    }
    config = load_config(config_file, environ=environ)
    assert (config.mqtt.host, config.mqtt.port) == ("other", 1884)
    assert config.cameras[0].name == "hall"


def test_rules_arrive_in_the_domain_as_they_were_written(config_file: Path) -> None:
    config_file.write_text(
        '[[alerts]]\nkind = "sustained"\nname = "low"\nemotions = ["sad"]\nshare = 0.7\nwindow_seconds = 90\n'
        '[[alerts]]\nkind = "absence"\nname = "away"\nabsent_hours = 2\nactive_hours = "22:00-06:00"\n'
    )
    low, away = (alert.to_rule() for alert in load_config(config_file, environ={}).alerts)
    assert isinstance(low, SustainedRule)
    assert (low.threshold, low.window_seconds, low.emotions) == (0.7, 90, frozenset({Emotion.SAD}))
    assert low.clear_threshold == pytest.approx(0.7 * 2 / 3)
    assert isinstance(away, AbsenceRule)
    assert away.absent_seconds == 7200
    assert away.active_hours.start.hour == 22


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ('[mqqt]\nhost = "x"', "mqqt is not a setting; did you mean 'mqtt'?"),
        ('[mqtt]\nhots = "x"', "mqtt.hots is not a setting; did you mean 'host'?"),
        ('host = "x"', "host is not a setting; did you mean 'mqtt.host'?"),
        ("[mqtt]\nport = 99999", "mqtt.port must be at most 65535, got 99999"),
        ('[mqtt]\nport = "a"', "mqtt.port must be a whole number, got 'a'"),
        ("mqtt = 3", "mqtt: input should be a valid dictionary"),
        ('[[alerts]]\nkind = "spike"\nname = "a"\nemotions = ["sad"]\nhold_seconds = -3',
         "alerts[0].hold_seconds must be at least 0.0, got -3"),
        ('[[alerts]]\nkind = "spike"\nname = "a"\nemotions = ["sda"]', "alerts[0].emotions[0] must be 'angry', "),
        ('[[alerts]]\nkind = "spike"\nname = "a"\nemotions = ["sad"]\nscore = 0.2\nclear_score = 0.4',
         "alerts[0]: clear_score must be at most score (0.2), got 0.4"),
        ('[cameras]\nname = "hall"',
         "cameras must be a list of tables; written in double brackets, [[cameras]]"),
        ("[mqtt]\nhost = broker", "; text needs quotes"),
        ('[[alerts]]\nkind = "sus"\nname = "a"', "alerts[0].kind must be one of 'sustained', "),
        ('[[alerts]]\nname = "a"', "alerts[0].kind is missing"),
        ('[[alerts]]\nkind = "absence"\nname = "a"\nactive_hours = "8-9"',
         'alerts[0].active_hours must be two different local times such as "08:00-21:00", got \'8-9\''),
        ('[[alerts]]\nkind = "camera"\nname = "a"\ncameras = ["attic"]',
         "alerts[0].cameras: there is no camera 'attic'"),
        ('[[alerts]]\nname = "a"',
         "alerts[0].kind is missing; it must be one of 'sustained', 'spike', 'absence', 'camera', 'device'"),
        ('[[alerts]]\nkind = "rain"\nname = "a"',
         "alerts[0].kind must be one of 'sustained', 'spike', 'absence', 'camera', 'device', got 'rain'"),
        ('[[alerts]]\nkind = "device"\nname = "a"\ntrouble = "model"\ncameras = ["attic"]', "alerts[0].cameras"),
        ('[model]\npath = "a.onnx"\nprecision = "int8"', "model: precision chooses between the networks that ship"),
        ('[model]\nprecision = "int4"', "model.precision must be 'auto', 'float32' or 'int8'"),
        ('[[alerts]]\nkind = "device"\nname = "a"\ntrouble = "rain"', "alerts[0].trouble must be 'model', "),
        ('[[alerts]]\nkind = "camera"\nname = "a"\nescalate_after_seconds = 9\nseverity = "critical"',
         "escalate_to must be above the severity critical"),
        ('[[alerts]]\nkind = "sustained"\nname = "a"\nemotions = ["sad"]\nwindow_seconds = 10',
         "min_observed_seconds must be at most 90% of window_seconds (10.0), got 20.0"),
        ('cameras = [{name = "a"}, {name = "a"}]', "cameras: the name 'a' is used twice"),
        ('[[cameras]]\nname = "A b"', "cameras[0].name must be 1 to 64 lower-case letters"),
        ("[[cameras]]\nfps = inf", "cameras[0].fps: input should be a finite number"),
        ('[broker]\nhost = "0.0.0.0"', "listening on 0.0.0.0 opens the broker to the network: set broker.username"),
        ('[broker]\nusername = "a"', "broker: username and password belong together"),
        ('[mqtt]\npassword = "a"', "mqtt: a password needs a username"),
        ('[mqtt]\nusername = "u"\npassword = "a"\npassword_file = "b"', "give password or password_file, not both"),
        ('[mqtt.tls]\ncert_file = "a"', "mqtt.tls: cert_file and key_file belong together"),
        ('[[alerts]]\nkind = "spike"\nname = "a"\nemotions = ["sad"]\nclear_score = 0',
         "alerts[0].clear_score must be above 0.0, got 0"),
        ("[[cameras]]\nfps = 0.5", "cameras[0].fps must be at least 1.0, got 0.5"),
        ('[broker]\nhost = "0.0.0.0"\nusername = "u"\npassword = ""', "broker.password: "),
        ('[mqtt]\nhost = "mqtt://u:hunter2@h"', "mqtt.host must be the name or address alone"),
        ("[mqtt", "is not valid TOML: Expected ']' at the end of a table declaration (at end of document); compare: "),
        ('[[cameras]]\nfps = "fast"', "cameras[0].fps must be a number, got 'fast'"),
        ('[[cameras]]\nloop = "maybe"', "cameras[0].loop must be true or false, got 'maybe'"),
        ('[[alerts]]\nkind = "camera"\nname = "a"\ncameras = "hall"',
         "alerts[0].cameras must be a list, got 'hall'"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_value_and_remedy(config_file: Path, toml: str, message: str) -> None:
    config_file.write_text(toml)
    with pytest.raises(ConfigError) as caught:
        load_config(config_file, environ={})
    assert message in str(caught.value)
    assert str(config_file) in str(caught.value)
    assert "\n" not in str(caught.value).removesuffix("\n")


def test_a_wrong_variable_is_named_as_a_variable() -> None:
    for wrong in ("VIRE_EDGE_MQTT__HOTS", "VIRE_EDGE_MQTT_HOST"):
        with pytest.raises(ConfigError, match=rf"{wrong} is not a setting; did you mean VIRE_EDGE_MQTT__HOST\?"):
            load_config(environ={wrong: "x"})
    with pytest.raises(
        ConfigError, match=r"VIRE_EDGE_CAMERAS must be a JSON list or table: Expecting .* at character 2"
    ):
        load_config(environ={"VIRE_EDGE_CAMERAS": "[{"})
    with pytest.raises(
        ConfigError,
        match=r"VIRE_EDGE_CAMERAS must be a list of tables; better set cameras in the file, \[\[cameras\]\]",
    ):
        load_config(environ={"VIRE_EDGE_CAMERAS": "1"})
    with pytest.raises(
        ConfigError, match=r"VIRE_EDGE_MQTT__HOST__X: there is no table 'host'.*VIRE_EDGE_MQTT__HOST as"
    ):
        load_config(environ={"VIRE_EDGE_MQTT__HOST": "a", "VIRE_EDGE_MQTT__HOST__X": "b"})
    with pytest.raises(ConfigError, match="VIRE_EDGE_MQTT__PORT must be at most 65535, got '99999'"):
        load_config(environ={"VIRE_EDGE_MQTT__PORT": "99999"})


def test_every_mistake_is_told_at_once(config_file: Path) -> None:
    config_file.write_text("[mqtt]\nport = 0\n[health]\ninterval_seconds = 0\n")
    with pytest.raises(ConfigError, match=r"mqtt\.port must be .*; health\.interval_seconds must be"):
        load_config(config_file, environ={})


def test_a_file_that_cannot_be_read_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist; make one with: vire-edge check-config --example"):
        load_config(tmp_path / "none.toml", environ={})
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load_config(tmp_path, environ={})
    (tmp_path / "latin.toml").write_bytes(b'device_id = "\xe4"')
    with pytest.raises(ConfigError, match="is not UTF-8 text"):
        load_config(tmp_path / "latin.toml", environ={})


def test_a_file_that_cannot_be_read_now_is_worth_another_try(tmp_path: Path, config_file: Path) -> None:
    # A regular file of which the kernel can read nothing: as a disk or a share that fails.
    failing = Path("/proc/self/mem")
    config_file.write_text(f'[mqtt]\nusername = "u"\npassword_file = "{failing}"\n')
    for path in (failing, config_file):
        with pytest.raises(ConfigUnavailableError, match="/proc/self/mem cannot be read: Input/output error") as caught:
            load_config(path, environ={})
        assert caught.value.exit_status == 75
    for path in (tmp_path / "none.toml", tmp_path):
        with pytest.raises(ConfigError) as wrong:
            load_config(path, environ={})
        assert wrong.value.exit_status == 78


def test_passwords_come_from_a_file_or_systemd_and_never_show(tmp_path: Path, config_file: Path) -> None:
    (tmp_path / "secret").write_text("hunter2\nsecond line\n")
    config_file.write_text(f'[mqtt]\nhost = "b"\nusername = "u"\npassword_file = "{tmp_path / "secret"}"\n')
    config = load_config(config_file, environ={})
    assert config.mqtt.password is not None
    assert config.mqtt.password.get_secret_value() == "hunter2"
    assert "hunter2" not in repr(config) + config.model_dump_json()

    (tmp_path / "mqtt_password").write_text("from-systemd")
    config_file.write_text('[mqtt]\nhost = "b"\nusername = "u"\n')
    config = load_config(config_file, environ={"CREDENTIALS_DIRECTORY": str(tmp_path)})
    assert config.mqtt.password is not None
    assert config.mqtt.password.get_secret_value() == "from-systemd"


def test_a_credential_is_enough_for_the_embedded_broker_and_an_explicit_password_goes_before_it(
    tmp_path: Path, config_file: Path
) -> None:
    (tmp_path / "broker_password").write_text("from-systemd")
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    config_file.write_text('[broker]\nhost = "0.0.0.0"\nusername = "u"\n')
    broker = load_config(config_file, environ=environ).broker
    assert broker.password is not None
    assert broker.password.get_secret_value() == "from-systemd"
    broker = load_config(config_file, environ=environ | {"VIRE_EDGE_BROKER__PASSWORD": "[explicit"}).broker
    assert broker.password is not None
    assert broker.password.get_secret_value() == "[explicit"


def test_no_mistake_repeats_a_password(config_file: Path) -> None:
    config_file.write_text('[mqtt]\nhost = "mqtt://u:hunter2@h"\n[[cameras]]\nwidth = "rtsp://admin:hunter2@cam"\n')
    with pytest.raises(ConfigError) as in_file:
        load_config(config_file, environ={})
    with pytest.raises(ConfigError) as in_environment:
        load_config(environ={"VIRE_EDGE_CAMERAS": '[{"source":"rtsp://admin:hunter2@cam/x",}]'})
    assert "hunter2" not in str(in_file.value) + str(in_environment.value)


def test_a_password_of_the_wrong_type_is_not_repeated(config_file: Path) -> None:
    config_file.write_text('[mqtt]\nusername = "u"\npassword = 12345678\n')
    with pytest.raises(ConfigError) as caught:
        load_config(config_file, environ={})
    assert "12345678" not in str(caught.value)


def test_a_password_file_whose_name_cannot_be_one_is_named(config_file: Path) -> None:
    config_file.write_text('[mqtt]\nusername = "u"\npassword_file = "a\\u0000b"\n')
    with pytest.raises(ConfigError, match="mqtt: 'password_file' must be text without NUL"):
        load_config(config_file, environ={})


def test_a_missing_password_file_is_named(config_file: Path) -> None:
    config_file.write_text('[mqtt]\nusername = "u"\npassword_file = "/nowhere/secret"\n')
    with pytest.raises(ConfigError, match=r"mqtt\.password_file: /nowhere/secret cannot be read: No such file") as told:
        load_config(config_file, environ={})
    assert str(told.value).endswith("; make it, with the password as its first line, or correct mqtt.password_file")
    assert told.value.exit_status == 78


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_a_password_file_of_somebody_else_is_told_with_the_command_that_gives_it_away(tmp_path: Path) -> None:
    secret = tmp_path / "mqtt_password"
    secret.touch(mode=0o600)
    code = (
        "import os; from vire_edge.config import load_config; from vire_edge.errors import ConfigError\n"
        "os.seteuid(54321)\n"
        "try:\n    load_config(environ=dict(os.environ))\n"
        "except ConfigError as error:\n    print(error.exit_status, error)"
    )
    given = {"VIRE_EDGE_MQTT__USERNAME": "hall", "VIRE_EDGE_MQTT__PASSWORD_FILE": str(secret)}
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **given}, capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    assert done.stdout.startswith("75 mqtt.password_file: ")
    assert done.stdout.endswith(f"; let the daemon's user read it, for the service: sudo chown vire-edge {secret}\n")


def test_a_source_is_shown_without_its_password() -> None:
    assert redact_source("rtsp://user:pass@10.0.0.9:554/live?token=abc") == "rtsp://10.0.0.9:554/live"
    assert redact_source("rtsp://user:12/3@4@10.0.0.9/live") == "rtsp://10.0.0.9/live"
    assert redact_source("http://10.0.0.9/video") == "http://10.0.0.9/video"
    assert redact_source(0) == "0"
    assert redact_source("/dev/video0") == "/dev/video0"


def test_the_device_id_hides_the_machine_id_and_is_stable(tmp_path: Path) -> None:
    machine = tmp_path / "machine-id"
    machine.write_text("0123456789abcdef0123456789abcdef\n")
    made = device_id(Config(), machine_id=machine)
    assert made == device_id(Config(), machine_id=machine)
    assert made.startswith("vire-")
    assert "0123" not in made
    assert device_id(Config(device_id="kitchen"), machine_id=machine) == "kitchen"
    assert device_id(Config(), machine_id=tmp_path / "none").startswith("vire-")


def test_the_state_directory_is_systemd_s_or_the_user_s() -> None:
    assert state_directory(Config(), environ={"STATE_DIRECTORY": "/var/lib/vire-edge"}) == Path("/var/lib/vire-edge")
    assert state_directory(Config(), environ={"XDG_STATE_HOME": "/x"}) == Path("/x/vire-edge")
    assert state_directory(Config(state_dir=Path("/y")), environ={}) == Path("/y")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_a_user_without_a_home_is_told_to_name_the_state_directory() -> None:
    # As in a container that is run with --user: no HOME, and no entry among the users.
    code = (
        "import os; from vire_edge.config import Config, state_directory; from vire_edge.errors import ConfigError\n"
        "os.setresuid(54321, -1, -1)\n"
        "try:\n    state_directory(Config(), environ={})\n"
        "except ConfigError as error:\n    print(error)"
    )
    homeless = {name: value for name, value in os.environ.items() if name != "HOME"}
    done = subprocess.run([sys.executable, "-c", code], env=homeless, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert "user 54321 has no home; set state_dir" in done.stdout


# --- what may be in the file's place ------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"#" * (256 << 10) + b"\n", "has more than 256 KiB; is it the right file?"),
        (b"a = 1\nb = '" + b"x" * 5000 + b"'", "line 2 has 5,006 characters, more than 4,096; write it on several"),
        (b"a" + b".a" * 2046 + b"=1", "is not a setting"),
        (b"device_id = " + b"[" * 3000, "is nested too deeply"),
        (b"[mqtt]\nport = " + b"9" * 4000, "mqtt.port must be at most 65535, got a number of many digits"),
        (b"[health]\ninterval_seconds = 0x" + b"f" * 4000, "interval_seconds.*, got a number of many digits"),
        (b"[mqtt]\nport = 1\nport = 2\n", r"is not valid TOML: .*line 3"),
        (b"[mqtt]\n[mqtt]\n", r"is not valid TOML: .*line 2"),
        (b'device_id = "a\0b"', r"is not valid TOML: .*line 1"),
        (b"[mqtt]\nhost = '\xff'", r"is not UTF-8 text \(line 2\); save it as UTF-8"),
        (b"\n".join(b"k%d = 1" % number for number in range(20_000)), "; and 19990 more"),
        (b'"a\\nb" = 1', r"'a\\nb' is not a setting"),
        (b'[model]\npath = "a\\u0000b"', "model: 'path' must be text without NUL characters"),
        (b"[[alerts]]\nkind = 'camera'\n" * 300, "alerts: list should have at most 256 items"),
    ],
)  # fmt: skip
def test_what_cannot_be_a_configuration_is_one_clear_line(config_file: Path, content: bytes, message: str) -> None:
    config_file.write_bytes(content)
    with pytest.raises(ConfigError, match=message) as caught:
        load_config(config_file, environ={})
    assert str(config_file) in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 3000


def test_a_device_that_never_ends_is_no_configuration_and_no_password(config_file: Path) -> None:
    with pytest.raises(ConfigError, match="/dev/zero has more than 256 KiB"):
        load_config(Path("/dev/zero"), environ={})
    config_file.write_text('[mqtt]\nusername = "u"\npassword_file = "/dev/zero"\n')
    with pytest.raises(ConfigError, match="the first line of /dev/zero is longer than 4,096 bytes"):
        load_config(config_file, environ={})


def test_words_in_the_place_of_a_table_that_may_hold_a_password_are_not_repeated(config_file: Path) -> None:
    for text in ('mqtt = "u:hunter2"', 'broker = ["hunter2"]', '[mqtt]\nusername = "u"\npassword = "hunter2\\u0000"'):
        config_file.write_text(text)
        with pytest.raises(ConfigError) as caught:
            load_config(config_file, environ={})
        assert "hunter2" not in str(caught.value)


# --- versions -----------------------------------------------------------------------------------


def test_a_file_from_a_windows_editor_is_read(config_file: Path) -> None:
    config_file.write_bytes(b'\xef\xbb\xbfdevice_id = "hall"\r\n')
    assert load_config(config_file, environ={}).device_id == "hall"


def test_a_file_without_a_version_is_of_the_first(config_file: Path) -> None:
    config_file.write_text('device_id = "hall"\n')
    assert load_config(config_file, environ={}).version == 1
    config_file.write_text('version = 1\ndevice_id = "hall"\n')
    assert load_config(config_file, environ={}).device_id == "hall"


@pytest.mark.parametrize("text", ["version = 2", "version = 2\n[of.another]\nform = true", "version = 99999999999999"])
def test_a_newer_configuration_is_refused_before_its_keys_are_looked_at(config_file: Path, text: str) -> None:
    config_file.write_text(text)
    with pytest.raises(ConfigError, match=r"is of version .*, and this vire-edge knows 1; upgrade vire-edge$"):
        load_config(config_file, environ={})
    (config_file.parent / "config.toml.v1.bak").touch()
    with pytest.raises(
        ConfigError, match=r"upgrade vire-edge, or go back to the file's backup, config\.toml\.v1\.bak$"
    ):
        load_config(config_file, environ={})


@pytest.mark.parametrize("text", ["0", "-1", "true", '"1"', "1.0", "[1]"])
def test_a_version_that_is_none_is_refused(config_file: Path, text: str) -> None:
    config_file.write_text(f"version = {text}\n")
    with pytest.raises(ConfigError, match="version must be a whole number from 1 to 1"):
        load_config(config_file, environ={})


def _host_in_a_table(values: dict[str, Any]) -> dict[str, Any]:
    rest = {key: value for key, value in values.items() if key != "host"}
    return rest | {"mqtt": {"host": values["host"]}}


def _named_camera(values: dict[str, Any]) -> dict[str, Any]:
    return values | {"cameras": [{"name": name, "source": "synthetic"} for name in values["cameras"]]}


LATER: tuple[Migration, ...] = (_host_in_a_table, _named_camera)
"""Two migrations, as if this were version 3."""


def test_an_older_configuration_is_written_in_the_present_form_and_kept_beside_it(config_file: Path) -> None:
    older = '# mine\nhost = "broker"\ncameras = ["hall", "Wohn\\u0007 \\"Zimmer\\""]\n'
    config_file.write_text(older)
    config_file.chmod(0o640)
    backup = migrate_file(config_file, migrations=LATER)
    assert backup == config_file.with_name("config.toml.v1.bak")
    assert backup.read_text() == older
    assert config_file.read_text().startswith("version = 3\n")
    assert tomllib.loads(config_file.read_text()) == {
        "version": 3,
        "mqtt": {"host": "broker"},
        "cameras": [
            {"name": "hall", "source": "synthetic"},
            {"name": 'Wohn\u0007 "Zimmer"', "source": "synthetic"},
        ],
    }
    assert [stat.S_IMODE(path.stat().st_mode) for path in (config_file, backup)] == [0o640, 0o640]
    assert migrate_file(config_file, migrations=LATER) is None


def another_group() -> int:
    """A group that files of this process don't fall to by themselves, and that it may give them to."""
    if os.geteuid() == 0:
        return os.getegid() + 1
    others = set(os.getgroups()) - {os.getegid()}
    if not others:
        pytest.skip("this user belongs to one group only")
    return min(others)


def test_whoever_could_read_an_older_configuration_can_read_it_in_the_present_form(config_file: Path) -> None:
    # The installer gives the file to root and to the group of the daemon, which reads it through that group alone.
    config_file.write_text('host = "broker"\ncameras = []\n')
    os.chown(config_file, -1, another_group())
    config_file.chmod(0o640)
    before = config_file.stat()
    backup = migrate_file(config_file, migrations=LATER)
    assert backup is not None
    for after in (config_file.stat(), backup.stat()):
        assert (after.st_uid, after.st_gid) == (before.st_uid, before.st_gid)
        assert stat.S_IMODE(after.st_mode) == 0o640


def test_a_configuration_that_cannot_be_replaced_stays_and_leaves_no_half(config_file: Path) -> None:
    config_file.mkdir()
    with pytest.raises(StorageError, match=r"config\.toml cannot be written: Is a directory"):
        write_toml(config_file, {"mqtt": {"password": "hunter2"}})
    assert [path.name for path in config_file.parent.iterdir()] == ["config.toml"]


def test_the_command_leaves_a_file_of_the_present_version_alone(config_file: Path) -> None:
    text = "# mine\n" + example_toml()
    config_file.write_text(text)
    result = CliRunner().invoke(app, ["check-config", str(config_file), "--migrate"])
    assert result.exit_code == 0
    assert "It was of the present version." in result.output
    assert config_file.read_text() == text
    assert [path.name for path in config_file.parent.iterdir()] == ["config.toml"]


def test_a_migration_begins_where_the_file_is(config_file: Path) -> None:
    values = {"version": 2, "cameras": ["hall"]}
    assert up_to_date(values, config_file, migrations=LATER) == {
        "version": 3,
        "cameras": [{"name": "hall", "source": "synthetic"}],
    }
    with pytest.raises(ConfigError, match=r"is of version 4, and this vire-edge knows 3; upgrade"):
        up_to_date({"version": 4}, config_file, migrations=LATER)


def test_a_backup_is_never_overwritten(config_file: Path) -> None:
    config_file.write_text('host = "broker"\ncameras = []\n')
    config_file.with_name("config.toml.v1.bak").write_text("precious")
    with pytest.raises(StorageError, match=r"config\.toml\.v1\.bak is there already"):
        migrate_file(config_file, migrations=LATER)
    assert config_file.with_name("config.toml.v1.bak").read_text() == "precious"
    assert config_file.read_text().startswith("host")


@settings(max_examples=50, deadline=None)
@given(
    st.dictionaries(
        st.text(min_size=1),
        st.recursive(
            st.one_of(st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), st.text()),
            lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(min_size=1), inner)),
            max_leaves=10,
        ),
    )
)
def test_tables_survive_being_written(values: dict[str, Any]) -> None:
    assert tomllib.loads(dump_toml(values)) == values


# --- who may read ---------------------------------------------------------------------------------


def test_a_secret_that_every_user_can_read_is_warned_of(tmp_path: Path, config_file: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hunter2\n")
    config_file.write_text(
        f'[[cameras]]\nsource = "rtsp://u:hunter2@cam/"\n[mqtt]\nusername = "u"\npassword_file = "{secret}"\n'
    )
    for mode, expected in ((0o644, [config_file, secret]), (0o640, [])):
        secret.chmod(mode)
        config_file.chmod(mode)
        with capture_logs() as logs:
            warn_of_readers(load_config(config_file, environ={}), config_file)
        assert [entry["remedy"] for entry in logs] == [f"chmod o= {path}" for path in expected]
        assert "hunter2" not in str(logs)


@pytest.mark.parametrize(
    "source",
    [
        "rtsp://camera.home/user=admin_password=hunter2_channel=1.sdp",
        "http://camera.home/video?user=admin&pwd=hunter2",
        "http://hunter2@camera.home/video",
    ],
)
def test_a_camera_s_login_anywhere_in_its_address_is_a_secret(config_file: Path, source: str) -> None:
    config_file.write_text(f'[[cameras]]\nsource = "{source}"\n')
    config_file.chmod(0o644)
    with capture_logs() as logs:
        warn_of_readers(load_config(config_file, environ={}), config_file)
    assert [entry["remedy"] for entry in logs] == [f"chmod o= {config_file}"]
    assert "hunter2" not in str(logs)


def test_a_file_without_a_secret_may_be_read_by_everyone(config_file: Path) -> None:
    config_file.write_text('[[cameras]]\nsource = "http://[broken"\n[mqtt]\nhost = "broker"\n')
    config_file.chmod(0o644)
    with capture_logs() as logs:
        warn_of_readers(load_config(config_file, environ={}), config_file)
    assert logs == []
