"""The unit: valid, hardened, and without what would hide cameras or delay the start."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from brokers import Mosquitto, free_port, wait_until
from daemons import PATIENCE_SECONDS, Daemon

from vire_edge.cli.address_filter import needed_addresses
from vire_edge.config import Config
from vire_edge.daemon.daemon import CAMERA_STOP_SECONDS, DELIVERY_STOP_SECONDS, TICK_SECONDS
from vire_edge.errors import (
    ConfigError,
    ConfigUnavailableError,
    ModelError,
    ModelUnavailableError,
    StandstillError,
    StorageError,
    VireError,
)

UNIT = Path(__file__).parents[1] / "systemd" / "vire-edge.service"
RULES = UNIT.with_name("70-vire-edge.rules")
MODULES = UNIT.with_name("modules-load.conf")
MAX_EXPOSURE = 1.8
MAX_EXPOSURE_WITH_FILTER = 1.5
"""Of 10, by `systemd-analyze security`."""
EMBEDDED_BROKER_STOP_SECONDS = 1.5
ACTOR = {"name": "room", "source": "synthetic", "loop": True}


def systemd_analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    program = shutil.which("systemd-analyze")
    assert program is not None, "systemd-analyze is missing: apt install systemd"
    return subprocess.run([program, *arguments], capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture(scope="module")
def service() -> dict[str, list[str]]:
    settings: dict[str, list[str]] = {}
    for line in UNIT.read_text().splitlines():
        if re.match(r"[A-Za-z]", line):
            key, _, value = line.partition("=")
            settings.setdefault(key, []).append(value)
    return settings


@pytest.fixture
def filter_text(tmp_path: Path) -> str:
    """The drop-in for a broker and a camera that are known by their addresses."""
    config = tmp_path / "config.toml"
    config.write_text(
        '[mqtt]\nhost = "192.0.2.7"\n[[cameras]]\nname = "hall"\nsource = "rtsp://me:p@ss/word@192.0.2.8:554/live"\n'
    )
    command = [sys.executable, "-m", "vire_edge", "address-filter", "--config", str(config)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


def installed_at(folder: Path, drop_in: str = "") -> Path:
    """Write the unit as systemd finds it, but for the program, which is not installed where the tests run."""
    unit = folder / UNIT.name
    unit.write_text(re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", UNIT.read_text(), flags=re.MULTILINE))
    if drop_in:
        part = folder / f"{UNIT.name}.d" / "address-filter.conf"
        part.parent.mkdir()
        part.write_text(re.sub(r"^ExecStartPre=-\+\S+", "ExecStartPre=-+/bin/true", drop_in, flags=re.MULTILINE))
    return unit


def exposure(unit: Path) -> float:
    finished = systemd_analyze("security", "--offline=yes", "--no-pager", unit)
    found = re.search(r"Overall exposure level .*: ([\d.]+)", finished.stdout)
    assert found is not None, finished.stdout + finished.stderr
    return float(found[1])


def test_systemd_finds_nothing_to_complain_about(tmp_path: Path, filter_text: str) -> None:
    finished = systemd_analyze("verify", "--man=no", installed_at(tmp_path, filter_text))
    assert finished.returncode == 0, finished.stderr
    assert finished.stderr == ""


def test_the_service_is_exposed_little() -> None:
    assert exposure(UNIT) <= MAX_EXPOSURE


def test_the_address_filter_exposes_it_less(tmp_path: Path, filter_text: str) -> None:
    # Said in one file: asked about a file, systemd-analyze reads the drop-ins of the system, not those beside it.
    unit = installed_at(tmp_path)
    unfiltered = exposure(unit)
    unit.write_text(unit.read_text().replace("[Install]", f"{filter_text}[Install]"))
    assert exposure(unit) < unfiltered
    assert exposure(unit) <= MAX_EXPOSURE_WITH_FILTER


def test_the_filter_leaves_open_what_the_daemon_speaks_to(filter_text: str) -> None:
    lines = filter_text.splitlines()
    assert "IPAddressDeny=any" in lines
    assert "IPAddressAllow=localhost 192.0.2.7 192.0.2.8" in lines


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({}, "mqtt.host is not set"),
        ({"mqtt": {"host": "broker.home"}}, "the name 'broker.home' may change"),
        (
            {"mqtt": {"host": "192.0.2.7"}, "cameras": [{"source": "http://porch.local/video"}]},
            r"cameras\[0\].source: the address behind the name 'porch.local' may change",
        ),
        ({"mqtt": {"host": "192.0.2.7"}, "cameras": [{"source": "udp://239.0.0.1:1234"}]}, "who sends to 239.0.0.1"),
    ],
)
def test_there_is_no_filter_where_an_alert_could_fall_to_it(settings: dict[str, object], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        needed_addresses(Config.model_validate(settings))


def test_a_broker_on_the_device_needs_no_address_but_loopback() -> None:
    assert needed_addresses(Config.model_validate({"mqtt": {"host": "localhost"}, "cameras": [ACTOR]})) == []


def test_it_runs_the_installed_program_as_its_own_user(service: dict[str, list[str]]) -> None:
    assert service["ExecStart"] == ["/opt/vire-edge/venv/bin/vire-edge run --config /etc/vire-edge/config.toml"]
    assert service["User"] == service["Group"] == ["vire-edge"]


def test_cameras_stay_in_sight(service: dict[str, list[str]]) -> None:
    assert "PrivateDevices" not in service
    assert service["DeviceAllow"] == ["char-81 rw"]
    assert service["SupplementaryGroups"] == ["video"]


def test_a_missing_network_or_broker_delays_nothing(service: dict[str, list[str]]) -> None:
    assert service["After"] == ["network.target"]
    assert not {"Wants", "Requires", "BindsTo"} & service.keys()


def test_it_is_restarted_for_ever_but_not_with_a_wrong_configuration(service: dict[str, list[str]]) -> None:
    assert service["Restart"] == ["on-failure"]
    assert service["StartLimitIntervalSec"] == ["0"]
    (never,) = service["RestartPreventExitStatus"]
    assert set(map(int, never.split())) == {ConfigError.exit_status, ModelError.exit_status}


@pytest.mark.parametrize("what_passes", [ConfigUnavailableError, ModelUnavailableError, StandstillError, StorageError])
def test_it_is_restarted_after_what_may_pass(service: dict[str, list[str]], what_passes: type[VireError]) -> None:
    (never,) = service["RestartPreventExitStatus"]
    assert str(what_passes.exit_status) not in never.split()


def test_the_state_is_private_and_no_core_dump_holds_a_picture(service: dict[str, list[str]]) -> None:
    assert service["StateDirectoryMode"] == ["0700"]
    assert service["LimitCORE"] == ["0"]


def test_onnx_runtime_reports_to_nobody(service: dict[str, list[str]]) -> None:
    assert service["Environment"] == ["ORT_DISABLE_TELEMETRY=1"]


def test_readiness_watchdog_and_the_time_to_stop(service: dict[str, list[str]]) -> None:
    assert service["Type"] == ["notify"]
    assert service["NotifyAccess"] == ["main"]
    assert int(service["WatchdogSec"][0]) == 30
    deadlines = TICK_SECONDS + CAMERA_STOP_SECONDS + DELIVERY_STOP_SECONDS + EMBEDDED_BROKER_STOP_SECONDS
    assert float(service["TimeoutStopSec"][0]) >= deadlines + 5


def test_a_frozen_broker_lets_the_daemon_end_before_systemd_kills_it(
    tmp_path: Path, mosquitto: Mosquitto, service: dict[str, list[str]]
) -> None:
    settings = {"mqtt__host": "127.0.0.1", "mqtt__port": str(mosquitto.port), "cameras": [ACTOR]}
    with Daemon(tmp_path, settings) as daemon:
        wait_until(lambda: "broker_connected" in daemon.log, what="the connection")
        mosquitto.freeze()
        daemon.send(signal.SIGTERM)
        try:
            assert daemon.wait(timeout_seconds=float(service["TimeoutStopSec"][0])) == 0
        finally:
            mosquitto.thaw()


def test_the_journal_learns_the_priority_of_each_line(tmp_path: Path) -> None:
    # A stream socket on standard error, as systemd makes it; nobody listens where the broker should be.
    journal, stderr = socket.socketpair()
    status = os.fstat(stderr.fileno())
    environment = {name: value for name, value in os.environ.items() if not name.startswith("VIRE_EDGE_")} | {
        "JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}",
        "VIRE_EDGE_STATE_DIR": str(tmp_path),
        "VIRE_EDGE_CAMERAS": json.dumps([{"name": "attic", "source": "/dev/video97"}]),
        "VIRE_EDGE_MQTT__HOST": "127.0.0.1",
        "VIRE_EDGE_MQTT__PORT": str(free_port()),
    }
    command = [sys.executable, "-m", "vire_edge", "run"]
    with journal, subprocess.Popen(command, env=environment, stderr=stderr.fileno(), cwd=tmp_path) as daemon:
        stderr.close()
        journal.settimeout(PATIENCE_SECONDS)
        with journal.makefile() as lines:
            priorities: dict[str, str] = {}
            while not {"info", "warning"} <= priorities.keys():
                found = re.fullmatch(r"<(\d)>(.*)\n", line := next(lines))
                assert found is not None, line
                priorities[json.loads(found[2])["level"]] = found[1]
            daemon.terminate()
            lines.read()
        assert daemon.wait(PATIENCE_SECONDS) == 0
    assert priorities["info"] == "6"
    assert priorities["warning"] == "4"


def test_a_line_without_priority_is_a_warning(service: dict[str, list[str]]) -> None:
    assert service["SyslogLevel"] == ["warning"]


def test_a_camera_that_is_plugged_in_later_finds_its_driver_and_group() -> None:
    assert [line for line in MODULES.read_text().splitlines() if not line.startswith("#")] == ["uvcvideo"]
    rule = [line for line in RULES.read_text().splitlines() if not line.startswith("#")]
    assert rule == ['SUBSYSTEM=="video4linux", GROUP="video", MODE="0660"']
