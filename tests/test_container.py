"""The container's files, as far as they can be checked without an engine, and its watchdog with a real daemon."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml  # type: ignore[import-untyped,unused-ignore]
from brokers import MosquittoFactory, free_port, wait_until

from vire_edge.config import load_config

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
WATCHDOG = DEPLOY / "docker" / "watchdog.py"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
BROKER_CONF = (DEPLOY / "docker" / "mosquitto.conf").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
    assert isinstance(loaded, dict)
    return loaded


# --- as text ----------------------------------------------------------------------------------


def test_the_image_copies_what_is_there_and_reaches_its_build() -> None:
    sources = re.findall(r"^COPY (?!--from)(?:--\S+ )?(\S+) ", DOCKERFILE, flags=re.MULTILINE)
    assert sources
    assert all((ROOT / source).exists() for source in sources)
    allowed = re.findall(r"^!(\S+)", (ROOT / ".dockerignore").read_text(), flags=re.MULTILINE)
    assert all(list(ROOT.glob(pattern)) for pattern in allowed)
    for needed in ("deploy/build-deb.sh", "pyproject.toml", "systemd/vire-edge.service", "models/vire.onnx"):
        assert any(needed == path or needed.startswith(f"{path}/") or Path(needed).match(path) for path in allowed)


def test_no_password_or_key_gets_into_the_image(compose: dict[str, Any]) -> None:
    folder = {str(Path(secret["file"]).parent) for secret in compose["secrets"].values()}
    assert folder == {"docker/secrets"}
    assert "deploy/docker/secrets" in (ROOT / ".dockerignore").read_text().splitlines()
    ignored = subprocess.run(
        ["git", "check-ignore", "--quiet", "deploy/docker/secrets/server.key"], cwd=ROOT, check=False
    )
    assert ignored.returncode == 0


def test_both_containers_have_no_privilege_and_write_only_where_they_must(compose: dict[str, Any]) -> None:
    assert re.findall(r"^USER (\S+)", DOCKERFILE, flags=re.MULTILINE) == ["vire-edge"]
    assert compose["services"]["broker"]["user"] == "1883:1883"
    for service in compose["services"].values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service["restart"] == "unless-stopped"
        assert "privileged" not in service


def test_only_encrypted_mqtt_leaves_the_box(compose: dict[str, Any]) -> None:
    assert [service["ports"] for service in compose["services"].values() if "ports" in service] == [["8883:8883"]]


def test_what_is_mounted_is_there(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        for mount in service["volumes"]:
            source = mount.partition(":")[0]
            assert source in compose["volumes"] or (DEPLOY / source).exists(), source


def test_each_secret_that_is_read_is_given(compose: dict[str, Any]) -> None:
    daemon, broker = compose["services"]["vire-edge"], compose["services"]["broker"]
    read = re.findall(r"/run/secrets/(\S+)", " ".join(map(str, daemon["environment"].values())))
    assert read == daemon["secrets"]
    assert sorted(re.findall(r"^\w+ /run/secrets/(\S+)", BROKER_CONF, flags=re.MULTILINE)) == sorted(broker["secrets"])
    assert {*daemon["secrets"], *broker["secrets"]} == set(compose["secrets"])


def test_the_configuration_takes_each_variable(compose: dict[str, Any], tmp_path: Path) -> None:
    image = dict(re.findall(r"^ENV (\w+)=(\S+)", DOCKERFILE, flags=re.MULTILINE))
    password = tmp_path / "mqtt_password"
    password.write_text("correct horse\n")
    password.chmod(0o600)
    environment = image | {
        key: str(value).replace("/run/secrets/mqtt_password", str(password))
        for key, value in compose["services"]["vire-edge"]["environment"].items()
    }
    config = load_config(environ=environment)
    # The broker lets a device speak for itself alone: its login is its name in the topics.
    assert config.mqtt.username == config.device_id
    assert config.mqtt.host in compose["services"]
    assert config.state_dir is not None
    assert f"state:{config.state_dir}" in compose["services"]["vire-edge"]["volumes"]


WITHOUT_AN_ENGINE = """
docker() { [[ $1 == run ]] || test -f "$3"; }
nano() { touch "$1"; }
sudo() { ls -- "${@:3}"; }
"""
"""What cannot be had in a test: an engine, which is asked for the file alone; a terminal; other users."""


def test_the_commands_in_its_head_make_each_secret_and_end_where_they_began(
    compose: dict[str, Any], tmp_path: Path
) -> None:
    copy = shutil.copytree(DEPLOY, tmp_path / "deploy", ignore=shutil.ignore_patterns("secrets"))
    text = (DEPLOY / "compose.yaml").read_text(encoding="utf-8")
    commands = re.findall(r"^#   (.*)$", text, flags=re.MULTILINE)
    assert commands[-1].startswith("docker compose")
    script = "\n".join(("set -e", WITHOUT_AN_ENGINE, *commands))
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert all((copy / secret["file"]).exists() for secret in compose["secrets"].values())


# --- the broker -------------------------------------------------------------------------------


def test_its_broker_takes_the_device_and_nobody_without_a_login(
    start_mosquitto: MosquittoFactory, tmp_path: Path
) -> None:
    secrets = tmp_path / "secrets"
    subprocess.run(
        [DEPLOY / "mosquitto" / "make-certificates.sh", secrets, "broker.home"], check=True, capture_output=True
    )
    (secrets / "vire-edge.acl").write_bytes((DEPLOY / "mosquitto" / "vire-edge.acl").read_bytes())
    (secrets / "vire-edge.acl").chmod(0o600)
    (secrets / "passwd").touch(mode=0o600)
    subprocess.run(
        ["mosquitto_passwd", "-b", secrets / "passwd", "hall", "correct horse"], check=True, capture_output=True
    )
    plain, encrypted = free_port(), free_port()
    text = BROKER_CONF.replace("/run/secrets/", f"{secrets}/").replace("/mosquitto/data/", f"{tmp_path}/")
    text = text.replace("listener 1883", f"listener {plain} 127.0.0.1").replace("8883", f"{encrypted} 127.0.0.1")
    # The test's own broker writes to a log that is read when something fails.
    start_mosquitto(*text.replace("log_dest stderr", "").splitlines())
    told = (
        "mosquitto_pub",
        "-V",
        "5",
        "-q",
        "1",
        "-t",
        "vire/hall/availability",
        "-m",
        "online",
        "-h",
        "127.0.0.1",
        "-p",
    )
    login = ("-u", "hall", "-P", "correct horse")
    tls = ("--cafile", str(secrets / "ca.crt"), "--insecure")
    assert subprocess.run([*told, str(plain), *login], check=False).returncode == 0
    assert subprocess.run([*told, str(encrypted), *login, *tls], check=False).returncode == 0
    assert subprocess.run([*told, str(plain)], check=False, capture_output=True).returncode != 0


# --- the watchdog -----------------------------------------------------------------------------


def start_watched(folder: Path, **environ: str) -> subprocess.Popen[str]:
    """The watchdog with a daemon behind it whose synthetic camera never ends."""
    settings = {
        "TMPDIR": str(folder),
        "VIRE_EDGE_STATE_DIR": str(folder / "state"),
        "VIRE_EDGE_CAMERAS": '[{"source": "synthetic", "loop": true}]',
        "VIRE_EDGE_BROKER__PORT": str(free_port()),
    }
    return subprocess.Popen(
        [sys.executable, WATCHDOG, sys.executable, "-m", "vire_edge", "run"],
        env={**os.environ, **settings, **environ},
        stderr=subprocess.PIPE,
        text=True,
    )


def heart_beats(folder: Path) -> bool:
    """What the image's health check asks, with the time that a busy machine needs."""
    name = re.search(r"/tmp/([\w.-]+)", DOCKERFILE)
    assert name is not None
    return (folder / name[1]).exists()


def test_it_is_healthy_once_the_daemon_moves_and_ends_as_the_daemon_ends(tmp_path: Path) -> None:
    with start_watched(tmp_path) as watchdog:
        wait_until(lambda: heart_beats(tmp_path), what="the heartbeat", timeout_seconds=60)
        watchdog.send_signal(signal.SIGTERM)
        _, log = watchdog.communicate(timeout=30)
    assert watchdog.returncode == 0, log


def test_a_wrong_configuration_is_the_containers_exit_status(tmp_path: Path) -> None:
    with start_watched(tmp_path, VIRE_EDGE_LOG__LEVEL="loud") as watchdog:
        _, log = watchdog.communicate(timeout=60)
    assert watchdog.returncode == 78, log
    assert not heart_beats(tmp_path)


def test_a_daemon_that_stands_still_is_ended(tmp_path: Path) -> None:
    with start_watched(tmp_path, WATCHDOG_USEC="5000000") as watchdog:
        wait_until(lambda: heart_beats(tmp_path), what="the heartbeat", timeout_seconds=60)
        (daemon,) = psutil.Process(watchdog.pid).children()
        daemon.suspend()
        _, log = watchdog.communicate(timeout=60)
    assert watchdog.returncode == 128 + signal.SIGKILL, log
    assert "no heartbeat for 5 s" in log
    assert not psutil.pid_exists(daemon.pid)
