from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from vire_edge.config import Config, device_id, example_toml, load_config, redact_source, state_directory
from vire_edge.domain import AbsenceRule, CameraRule, DeviceRule, Emotion, SpikeRule, SustainedRule
from vire_edge.errors import ConfigError


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
        ('[mqtt]\nport = "a"', "mqtt.port: input should be a valid integer"),
        ("mqtt = 3", "mqtt: input should be a valid dictionary"),
        ('[[alerts]]\nkind = "spike"\nname = "a"\nemotions = ["sad"]\nhold_seconds = -3',
         "alerts[0].hold_seconds must be at least 0.0, got -3"),
        ('[[alerts]]\nkind = "spike"\nname = "a"\nemotions = ["sda"]', "alerts[0].emotions[0] must be 'angry', "),
        ('[[alerts]]\nkind = "spike"\nname = "a"\nemotions = ["sad"]\nscore = 0.2\nclear_score = 0.4',
         "alerts[0]: clear_score must be at most score (0.2), got 0.4"),
        ('[cameras]\nname = "hall"',
         "cameras must be a list; tables of it are written in double brackets, [[cameras]]"),
        ("[mqtt]\nhost = broker", "; text needs quotes"),
        ('[[alerts]]\nkind = "sus"\nname = "a"', "alerts[0].kind must be one of 'sustained', "),
        ('[[alerts]]\nname = "a"', "alerts[0].kind is missing"),
        ('[[alerts]]\nkind = "absence"\nname = "a"\nactive_hours = "8-9"',
         'alerts[0].active_hours must be two different local times such as "08:00-21:00", got \'8-9\''),
        ('[[alerts]]\nkind = "camera"\nname = "a"\ncameras = ["attic"]',
         "alerts[0].cameras: there is no camera 'attic'"),
        ('[[alerts]]\nkind = "device"\nname = "a"\ntrouble = "model"\ncameras = ["attic"]', "alerts[0].cameras"),
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
        ("[mqtt", "is not valid TOML"),
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
    with pytest.raises(ConfigError, match=r"mqtt\.password_file: .* is no text file in UTF-8"):
        load_config(config_file, environ={})


def test_a_missing_password_file_is_named(config_file: Path) -> None:
    config_file.write_text('[mqtt]\nusername = "u"\npassword_file = "/nowhere/secret"\n')
    with pytest.raises(ConfigError, match=r"mqtt\.password_file: /nowhere/secret cannot be read: No such file"):
        load_config(config_file, environ={})


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
