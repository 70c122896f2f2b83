"""What the kernel tells of the computer, from files as a Raspberry Pi, other boards and a virtual machine have them."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from vire_edge.daemon.machine import Machine, resident_mb

PI = "devices/platform/soc/soc:firmware/get_throttled"


def put(sysfs: Path, **files: str) -> Machine:
    names = {"temp": "class/thermal/thermal_zone0/temp", "throttled": PI}
    for name, text in files.items():
        path = sysfs / names[name]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Machine(sysfs)


def brake(sysfs: Path, index: int, kind: str, state: str) -> None:
    device = sysfs / f"class/thermal/cooling_device{index}"
    device.mkdir(parents=True)
    (device / "type").write_text(f"{kind}\n")
    (device / "cur_state").write_text(f"{state}\n")


def test_a_computer_without_sensors_is_neither_hot_nor_throttled(tmp_path: Path) -> None:
    reading = Machine(tmp_path).read()
    assert (reading.temperature_c, reading.throttled) == (None, False)


def test_the_temperature_is_read_in_degrees(tmp_path: Path) -> None:
    assert put(tmp_path, temp="61322\n").read().temperature_c == pytest.approx(61.322)
    assert put(tmp_path, temp="").read().temperature_c is None


@pytest.mark.parametrize(
    ("bits", "throttled"),
    [
        ("0\n", False),
        ("50000\n", False),  # since boot, but not now
        ("80008\n", False),  # the 3B+'s first step at 60 °C
        ("1\n", False),  # under-voltage, without a consequence
        ("50005\n", True),  # under-voltage, throttled
        ("2\n", True),  # frequency capped
        ("e0006\n", True),
        ("what?\n", False),
    ],
)
def test_the_firmware_of_a_raspberry_pi_tells_of_throttling(tmp_path: Path, bits: str, throttled: bool) -> None:
    assert put(tmp_path, throttled=bits).read().throttled is throttled


@pytest.mark.parametrize(
    ("kind", "state", "throttled"),
    [
        ("cpufreq-cpu0", "0", False),
        ("cpufreq-cpu0", "2", True),
        ("thermal-cpufreq-0", "1", True),
        ("Processor", "3", True),
        ("pwm-fan", "4", False),
        ("intel_powerclamp", "-1", False),
    ],
)
def test_other_boards_tell_by_what_the_kernel_cools_them_with(
    tmp_path: Path, kind: str, state: str, throttled: bool
) -> None:
    brake(tmp_path, 0, "Fan", "9")
    brake(tmp_path, 1, kind, state)
    assert Machine(tmp_path).read().throttled is throttled


def test_this_process_is_measured_with_all_its_threads() -> None:
    before = Machine().read().cpu_seconds
    until = time.thread_time() + 0.05
    while time.thread_time() < until:
        pass
    assert Machine().read().cpu_seconds - before >= 0.05
    assert 1 < resident_mb() < 4000
