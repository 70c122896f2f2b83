"""What a user types, and what each mistake ends in: one clear line and the right exit status."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from brokers import Certificates, Mosquitto, wait_until
from daemons import CLIPS, Daemon

from vire_edge.config import Config, load_config
from vire_edge.emotions import shipped_model_path

DATA_ERROR, NO_INPUT, UNAVAILABLE, CONFIG_ERROR = 65, 66, 69, 78


def vire_edge(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("VIRE_EDGE_")}
    return subprocess.run(
        [sys.executable, "-m", "vire_edge", *(str(argument) for argument in arguments)],
        env=clean | {"NO_COLOR": "1", "COLUMNS": "120"} | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def fails(result: subprocess.CompletedProcess[str], status: int, *parts: str) -> None:
    """One line on standard error that names the thing, its value and the remedy."""
    lines = [line for line in result.stderr.splitlines() if line.startswith("vire-edge: ")]
    assert result.returncode == status, result.stderr
    assert len(lines) == 1, result.stderr
    assert "Traceback" not in result.stderr
    for part in parts:
        assert part in lines[0]


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_help_teaches_and_groups_the_commands() -> None:
    text = vire_edge("--help").stdout
    for command in (
        "run",
        "demo",
        "watch",
        "classify",
        "doctor",
        "check-config",
        "schema",
        "train",
        "evaluate",
        "export",
    ):
        assert f" {command} " in text
    assert "Start with: vire-edge demo" in text
    assert vire_edge("--version").stdout.startswith("vire-edge 0.")


@pytest.mark.parametrize("command", ["run", "demo", "watch", "classify", "doctor", "check-config", "train", "evaluate"])
def test_every_command_explains_itself(command: str) -> None:
    result = vire_edge(command, "--help")
    assert result.returncode == 0
    assert "Usage:" in result.stdout
    assert result.stderr == ""


def test_a_wrong_option_is_a_usage_error() -> None:
    assert vire_edge("run", "--sorce", "0").returncode == 2


def test_the_example_configuration_is_valid(tmp_path: Path) -> None:
    example = write(tmp_path / "config.toml", vire_edge("check-config", "--example").stdout)
    assert load_config(example, environ={}) == Config()
    result = vire_edge("check-config", example)
    assert result.returncode == 0
    assert "The configuration is valid." in result.stdout


def test_a_wrong_configuration_fails_the_check_and_the_run_alike(tmp_path: Path) -> None:
    wrong = write(tmp_path / "wrong.toml", '[mqtt]\nhots = "x"\n')
    for arguments in (("check-config", wrong), ("run", "--config", wrong)):
        fails(vire_edge(*arguments), CONFIG_ERROR, str(wrong), "mqtt.hots is not a setting; did you mean 'host'?")
    fails(vire_edge("run", "--config", tmp_path / "none.toml"), CONFIG_ERROR, "does not exist; make one with")
    fails(vire_edge("run", VIRE_EDGE_MQTT__PORT="0"), CONFIG_ERROR, "VIRE_EDGE_MQTT__PORT must be at least 1, got '0'")
    invalid = write(tmp_path / "invalid.toml", "[mqtt\n")
    fails(vire_edge("run", "--config", invalid), CONFIG_ERROR, "is not valid TOML", "line 1")


@pytest.mark.parametrize(("device", "told"), [("hall", False), ("kitchen", True)])
def test_a_login_that_is_not_the_devices_name_is_worth_a_note(tmp_path: Path, device: str, told: bool) -> None:
    mqtt = '[mqtt]\nhost = "broker.home"\nusername = "hall"\npassword = "secret"\n'
    result = vire_edge("check-config", write(tmp_path / "config.toml", f'device_id = "{device}"\n{mqtt}'))
    assert result.returncode == 0
    assert ('set device_id = "hall"' in result.stdout) is told


def test_files_that_are_missing_are_worth_a_note_each(tmp_path: Path) -> None:
    there = write(tmp_path / "ca.pem", "")
    tls = f'[mqtt.tls]\nca_file = "{there}"\ncert_file = "/c"\nkey_file = "/k"\n'
    config = write(tmp_path / "config.toml", f'[model]\npath = "/none.onnx"\n[mqtt]\nhost = "x"\n{tls}')
    lines = vire_edge("check-config", config).stdout.splitlines()
    assert [line.split(" is not there")[0] for line in lines if "is not there" in line] == [
        "note: model.path: /none.onnx",
        "note: mqtt.tls.cert_file: /c",
        "note: mqtt.tls.key_file: /k",
    ]
    assert lines[-1] == "Cameras, model, certificates and broker were not tried; for that: vire-edge doctor"


def test_the_schema_is_json_for_every_topic() -> None:
    assert {"availability", "alerts", "health"} <= set(json.loads(vire_edge("schema").stdout))


def test_a_source_that_cannot_be_watched_ends_the_run(tmp_path: Path, mosquitto: Mosquitto) -> None:
    broker = {"VIRE_EDGE_MQTT__HOST": "127.0.0.1", "VIRE_EDGE_MQTT__PORT": str(mosquitto.port)}
    fails(
        vire_edge("run", "--source", tmp_path / "none.mp4", **broker),
        NO_INPUT,
        "none.mp4 does not exist; check --source",
    )
    cameras = json.dumps([{"source": str(tmp_path / "none.mp4")}])
    configured = vire_edge("run", VIRE_EDGE_CAMERAS=cameras, **broker)
    fails(configured, NO_INPUT, "none.mp4 does not exist; check source under [[cameras]]")
    text = write(tmp_path / "text.mp4", "no video")
    fails(vire_edge("run", "--source", text, **broker), NO_INPUT, "text.mp4", "no video")
    (tmp_path / "empty").mkdir()
    fails(vire_edge("run", "--source", tmp_path / "empty", **broker), NO_INPUT, "empty")


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100_000])


def _relabel(path: Path) -> None:
    model: Any = onnx.load(path)
    next(entry for entry in model.metadata_props if entry.key == "vire.labels").value = "happy,sad"
    onnx.save(model, path)


def _rename(path: Path) -> None:
    path.rename(path.with_name("elsewhere.onnx"))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_rename, "does not exist; leave out model.path for the shipped one"),
        (_truncate, "is truncated or no ONNX model"),
        (_relabel, "the labels must be angry,disgust,fear,happy,sad,surprise,neutral, got happy,sad"),
    ],
)
def test_a_model_that_cannot_be_used_ends_the_run(tmp_path: Path, damage: Callable[[Path], None], message: str) -> None:
    model = tmp_path / "model.onnx"
    model.write_bytes(shipped_model_path().read_bytes())
    damage(model)
    fails(vire_edge("run", "--source", "synthetic", VIRE_EDGE_MODEL__PATH=str(model)), DATA_ERROR, str(model), message)


def test_a_port_that_is_taken_ends_the_run(mosquitto: Mosquitto) -> None:
    result = vire_edge("run", "--source", "synthetic", VIRE_EDGE_BROKER__PORT=str(mosquitto.port))
    fails(result, UNAVAILABLE, f"127.0.0.1:{mosquitto.port}", "in use")


def test_a_certificate_file_that_is_missing_ends_the_run() -> None:
    result = vire_edge(
        "run", "--source", "synthetic", VIRE_EDGE_MQTT__HOST="localhost", VIRE_EDGE_MQTT__TLS='{"ca_file": "/none.pem"}'
    )
    fails(result, CONFIG_ERROR, "mqtt.tls.ca_file", "/none.pem")


def _watching(tmp_path: Path, mosquitto: Mosquitto, **settings: Any) -> Daemon:
    cameras = [{"name": "room", "source": str(CLIPS / "head-pose-face-detection-male.gif"), "loop": True}]
    return Daemon(
        tmp_path, {"mqtt__host": "localhost", "mqtt__port": str(mosquitto.port), "cameras": cameras} | settings
    )


def test_a_refused_login_is_one_line_and_the_watch_goes_on(tmp_path: Path, mosquitto_with_login: Mosquitto) -> None:
    login = {"mqtt__username": "device", "mqtt__password": "wrong"}
    with _watching(tmp_path, mosquitto_with_login, **login) as daemon:
        wait_until(lambda: "broker_unavailable" in daemon.log, what="the refusal")
        wait_until(lambda: '"status": "online"' in daemon.log, what="the camera")
        assert daemon.process is not None
        assert daemon.process.poll() is None
        (line,) = [line for line in daemon.log.splitlines() if "broker_unavailable" in line]
        assert "device" in line
        assert "wrong" not in line.replace("wrong password", "")


def test_an_expired_certificate_is_one_line_and_the_watch_goes_on(
    tmp_path: Path, start_mosquitto: Callable[..., Mosquitto], certificates: Certificates
) -> None:
    broker = start_mosquitto(*certificates.listener(expired=True))
    with _watching(tmp_path, broker, mqtt__tls={"ca_file": str(certificates.ca)}) as daemon:
        wait_until(lambda: "broker_unavailable" in daemon.log, what="the refusal")
        wait_until(lambda: '"status": "online"' in daemon.log, what="the camera")
        (line,) = [line for line in daemon.log.splitlines() if "broker_unavailable" in line]
        assert "expired" in line
