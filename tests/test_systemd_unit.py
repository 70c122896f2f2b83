"""The unit: valid, hardened, and without what would hide cameras or delay the start."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

UNIT = Path(__file__).parents[1] / "systemd" / "vire-edge.service"
MAX_EXPOSURE = 1.8
"""Of 10, by `systemd-analyze security`."""


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


def test_systemd_finds_nothing_to_complain_about(tmp_path: Path) -> None:
    # The program is not installed where the tests run, and systemd looks for it.
    unit = tmp_path / UNIT.name
    unit.write_text(re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", UNIT.read_text(), flags=re.MULTILINE))
    finished = systemd_analyze("verify", "--man=no", unit)
    assert finished.returncode == 0, finished.stderr
    assert finished.stderr == ""


def test_the_service_is_exposed_little() -> None:
    finished = systemd_analyze("security", "--offline=yes", "--no-pager", UNIT)
    found = re.search(r"Overall exposure level .*: ([\d.]+)", finished.stdout)
    assert found is not None, finished.stdout + finished.stderr
    assert float(found[1]) <= MAX_EXPOSURE


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
    assert service["RestartPreventExitStatus"] == ["65 78"]


def test_the_state_is_private_and_no_core_dump_holds_a_picture(service: dict[str, list[str]]) -> None:
    assert service["StateDirectoryMode"] == ["0700"]
    assert service["LimitCORE"] == ["0"]


def test_onnx_runtime_reports_to_nobody(service: dict[str, list[str]]) -> None:
    assert service["Environment"] == ["ORT_DISABLE_TELEMETRY=1"]


def test_readiness_watchdog_and_the_time_to_stop(service: dict[str, list[str]]) -> None:
    assert service["Type"] == ["notify"]
    assert service["NotifyAccess"] == ["main"]
    assert int(service["WatchdogSec"][0]) == 30
    assert int(service["TimeoutStopSec"][0]) == 10
