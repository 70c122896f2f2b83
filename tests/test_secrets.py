"""No secret comes out: not in logs, payloads, process arguments or error messages, whatever fails."""

from __future__ import annotations

import json
import signal
import socketserver
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from brokers import MosquittoFactory, free_port, wait_until
from daemons import DEVICE, Daemon, Listener
from test_cli import vire_edge

from vire_edge.camera.sources import source_for
from vire_edge.config import MqttConfig, load_config, redact_source
from vire_edge.errors import VireError

MQTT_SECRET, BROKER_SECRET = "mqtt-Geheimnis", "broker-Geheimnis"
URL_SECRETS = ("url-Geheimnis", "query-Geheimnis", "path-Geheimnis", "%40escaped-Geheimnis")
MARK = "Geheimnis"
"""Stands in each of them and nowhere else."""


class RefusingCamera(socketserver.ThreadingTCPServer):
    """A camera that takes nobody's password; FFmpeg then tries everything that it knows."""

    allow_reuse_address = True
    daemon_threads = True

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while line := self.rfile.readline():
                protocol = line.split()[-1].decode(errors="replace")
                sequence = b""
                while (header := self.rfile.readline()).strip():
                    sequence = header.strip() if header.lower().startswith(b"cseq") else sequence
                answer = f'{protocol} 401 Unauthorized\r\nWWW-Authenticate: Basic realm="{DEVICE}"\r\n'
                self.wfile.write(answer.encode() + sequence + b"\r\nContent-Length: 0\r\n\r\n")


@pytest.fixture
def cameras() -> Iterator[list[dict[str, Any]]]:
    """Cameras whose addresses hold a secret, each failing in its own way; the last one works."""
    with RefusingCamera(("127.0.0.1", 0), RefusingCamera.Handler) as server:
        threading.Thread(target=server.serve_forever, name="camera", daemon=True).start()
        there, away = f"127.0.0.1:{server.server_address[1]}", f"127.0.0.1:{free_port()}"
        url, query, path, escaped = URL_SECRETS
        yield [
            {"name": "away", "source": f"rtsp://user:{url}@{away}/stream?token={query}"},
            {"name": "refused", "source": f"rtsp://user:{url}@{there}/stream"},
            {"name": "http", "source": f"http://user:{escaped}@{there}/video.mjpg?token={query}"},
            {"name": "in-path", "source": f"rtsp://{there}/user=admin_password={path}_channel=1.sdp"},
            {"name": "room", "source": "synthetic", "loop": True},
        ]
        server.shutdown()


def arguments_of(daemon: Daemon) -> str:
    """What any user of the machine sees of a process."""
    assert daemon.process is not None
    return Path(f"/proc/{daemon.process.pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()


def failed(daemon: Daemon) -> set[str]:
    """The cameras that the log says why they fail."""
    lines = [json.loads(line) for line in daemon.log.splitlines() if line.startswith("{")]
    return {line["camera"] for line in lines if line["event"] == "camera" and line["level"] == "warning"}


Way = Callable[[Path], tuple[dict[str, Any], dict[str, str]]]


def in_the_environment(_folder: Path) -> tuple[dict[str, Any], dict[str, str]]:
    return {"mqtt__password": MQTT_SECRET}, {}


def as_a_credential(folder: Path) -> tuple[dict[str, Any], dict[str, str]]:
    (folder / "mqtt_password").write_text(MQTT_SECRET)
    (folder / "mqtt_password").chmod(0o600)
    return {}, {"CREDENTIALS_DIRECTORY": str(folder)}


@pytest.mark.parametrize("way", [in_the_environment, as_a_credential])
def test_a_daemon_whose_broker_and_cameras_fail_tells_no_secret(
    tmp_path: Path, start_mosquitto: MosquittoFactory, cameras: list[dict[str, Any]], way: Way
) -> None:
    passwords = tmp_path / "passwd"
    passwords.touch(mode=0o600)
    add = ["mosquitto_passwd", "-b", str(passwords)]
    for name, password in ((DEVICE, MQTT_SECRET), ("caregiver", "x")):
        subprocess.run([*add, name, password], check=True, capture_output=True)
    login = ("allow_anonymous false", f"password_file {passwords}")
    broker = start_mosquitto(*login)
    settings, environment = way(tmp_path)
    settings |= {"mqtt__host": "127.0.0.1", "mqtt__port": str(broker.port), "mqtt__username": DEVICE}
    settings |= {"cameras": cameras, "log__level": "debug", "health__interval_seconds": "1"}
    with Daemon(tmp_path, settings, environment) as daemon:
        with Listener(broker.config(username="caregiver", password="x")) as listener:
            listener.wait_for("availability", lambda payload: payload["status"] == "online")
            wait_until(lambda: failed(daemon) >= {"away", "refused", "http", "in-path"}, what="each camera's failure")
            listener.ask("status", transaction="s")
            listener.wait_for("response/status")
            arguments = arguments_of(daemon)
        broker.stop()
        subprocess.run([*add, DEVICE, "another"], check=True, capture_output=True)
        broker.start()
        wait_until(lambda: "refuses the login" in daemon.log, what="the refusal")
        daemon.send(signal.SIGTERM)
        assert daemon.wait() == 0
    for where, text in {
        "log": daemon.log,
        "payloads": json.dumps(listener.received),
        "arguments": arguments,
        "broker's log": broker.log,
    }.items():
        assert text, where
        assert MARK not in text, where
    assert "Traceback" not in daemon.log


def test_a_broker_of_its_own_tells_no_secret(tmp_path: Path, cameras: list[dict[str, Any]]) -> None:
    port = free_port()
    settings: dict[str, Any] = {
        "broker__port": str(port),
        "broker__username": "family",
        "broker__password": BROKER_SECRET,
    }
    settings["cameras"], settings["log__level"] = cameras, "debug"
    with Daemon(tmp_path, settings) as daemon:
        wait_until(lambda: "broker_connected" in daemon.log, what="the connection")
        login = {"host": "127.0.0.1", "port": port, "username": "family", "password": BROKER_SECRET}
        with Listener(MqttConfig.model_validate(login)) as listener:
            listener.wait_for("health")
            arguments = arguments_of(daemon)
        for wrong in (f"wrong-{MARK}", f"{BROKER_SECRET}x"):
            knock = ["mosquitto_pub", "-p", str(port), "-u", "family", "-P", wrong, "-t", "x", "-m", "x", "-V", "311"]
            assert subprocess.run(knock, capture_output=True, check=False).returncode != 0
        daemon.send(signal.SIGTERM)
        assert daemon.wait() == 0
    for where, text in {"log": daemon.log, "payloads": json.dumps(listener.received), "arguments": arguments}.items():
        assert text, where
        assert MARK not in text, where


@pytest.mark.parametrize("command", ["check-config", "doctor"])
def test_the_commands_that_look_at_a_configuration_show_no_secret(
    tmp_path: Path, cameras: list[dict[str, Any]], command: str
) -> None:
    file = tmp_path / "config.toml"
    sources = "\n".join(f'[[cameras]]\nname = "{camera["name"]}"\nsource = "{camera["source"]}"' for camera in cameras)
    file.touch(mode=0o600)
    file.write_text(
        f'state_dir = "{tmp_path}"\n{sources}\n[mqtt]\nhost = "127.0.0.1"\nport = {free_port()}\nusername = "hall"\n'
        f'password = "{MQTT_SECRET}"\n[broker]\nusername = "family"\npassword = "{BROKER_SECRET}"\n'
    )
    result = vire_edge(command, "--config", file)
    assert "in-path" in result.stdout, result.stderr
    assert MARK not in result.stdout + result.stderr


@pytest.mark.parametrize(
    "wrong",
    [
        f'[mqtt]\nhost = "mqtt://hall:{MQTT_SECRET}@broker.home"',
        f'[mqtt]\nusername = "hall"\npasswort = "{MQTT_SECRET}"',
        f'[mqtt]\npassword = "{MQTT_SECRET}"',
        f'[mqtt]\nusername = "hall"\npassword = ["{MQTT_SECRET}"]',
        f'[broker]\nhost = "0.0.0.0"\npassword = "{BROKER_SECRET}"',
        f'[mqtt]\nusername = "hall"\npassword = "{MQTT_SECRET}',
        f'[[cameras]]\nsource = "rtsp://user:{URL_SECRETS[0]}@127.0.0.1:99999/stream"',
        f'[[cameras]]\nname = "rtsp://user:{URL_SECRETS[0]}@camera.home/stream"',
        f'[[cameras]]\nsource = "rtps://user:{URL_SECRETS[0]}@camera.home/stream?token={URL_SECRETS[1]}"',
    ],
)
def test_a_configuration_that_is_wrong_is_told_without_its_secrets(tmp_path: Path, wrong: str) -> None:
    file = tmp_path / "config.toml"
    file.touch(mode=0o600)
    file.write_text(wrong + "\n")
    with pytest.raises(VireError) as told:
        [source_for(camera) for camera in load_config(file, environ={}).cameras]
    assert MARK not in str(told.value)


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("rtsp://user:p%40ss@camera.home:554/stream", "rtsp://camera.home:554/stream"),
        ("rtsp://user:p@ss/word@camera.home/stream", "rtsp://camera.home/stream"),
        ("http://camera.home/video?user=a&pwd=b", "http://camera.home/video"),
        ("http://camera.home/video#secret", "http://camera.home/video"),
        ("rtsp://camera.home/user=admin&password=b&channel=1.sdp", "rtsp://camera.home"),
        ("rtsp://camera.home/live/user=admin_password=b/1", "rtsp://camera.home/live"),
        ("/dev/video0", "/dev/video0"),
        (0, "0"),
    ],
)
def test_an_address_is_shown_without_what_opens_it(source: int | str, shown: str) -> None:
    assert redact_source(source) == shown
