"""The computer itself: Python, memory, clock, heat, and the service. Standard library only."""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from vire_edge.cli.doctor.check import Check, failure, ok, skipped, warning

SERVICE = "vire-edge"

_MIN_AVAILABLE_MB = 150
"""One camera takes up to 200 MB resident; with less than this free the system begins to swap or kill."""
_SANE_SINCE = datetime(2025, 1, 1, tzinfo=UTC)
"""A board without a clock chip starts in the past until the network tells it the time."""
_HOT_C = 80.0
"""A Raspberry Pi slows down from here."""
_SYSTEMD = Path("/run/systemd/system")
_MEMINFO = Path("/proc/meminfo")
_THERMAL_ZONE = Path("/sys/class/thermal/thermal_zone0/temp")
_THROTTLED = Path("/sys/devices/platform/soc/soc:firmware/get_throttled")
_THROTTLED_NOW, _UNDER_VOLTAGE_NOW = 0b1110, 0b0001
_SINCE_BOOT_BITS = 16
_COMMAND_SECONDS = 5


def check_python() -> Check:
    """Whether there are packages for this interpreter and processor."""
    machine, version = platform.machine(), platform.python_version()
    if sys.maxsize < 2**32:
        return failure("python", f"{version}, 32-bit ({machine})", "install the 64-bit system: ONNX Runtime needs it")
    return ok("python", f"{version}, {machine}")


def check_memory(meminfo: Path = _MEMINFO) -> Check:
    """Whether the daemon fits beside what runs already."""
    try:
        lines = meminfo.read_text(encoding="ascii").splitlines()
        kib = {line.partition(":")[0]: int(line.split()[1]) for line in lines}
        available, total = kib["MemAvailable"] // 1024, kib["MemTotal"] // 1024
    except (OSError, KeyError, ValueError, IndexError):
        return skipped("memory", f"{meminfo} cannot be read")
    detail = f"{available} of {total} MB available"
    if available < _MIN_AVAILABLE_MB:
        return warning("memory", detail, "stop other programs: one camera needs about 200 MB")
    return ok("memory", detail)


def check_clock(now: datetime | None = None) -> Check:
    """Whether messages will carry the right time."""
    now = datetime.now(UTC) if now is None else now
    shown = f"{now:%Y-%m-%d %H:%M} UTC"
    if now < _SANE_SINCE:
        return failure(
            "clock", shown, 'set the time: sudo timedatectl set-ntp true, or sudo date -s "YYYY-MM-DD hh:mm"'
        )
    match _ask("timedatectl", "show", "--property=NTPSynchronized", "--value"):
        case "yes":
            return ok("clock", f"{shown}, synchronised")
        case "no":
            return warning(
                "clock", f"{shown}, not synchronised", "let it follow the network: sudo timedatectl set-ntp true"
            )
    return ok("clock", f"{shown}; synchronised or not is unknown")


def check_heat(zone: Path = _THERMAL_ZONE, throttled: Path = _THROTTLED) -> Check:
    """Whether the processor is too hot or, on a Raspberry Pi, short of power."""
    try:
        bits = int(throttled.read_text(encoding="ascii"), 16)
    except (OSError, ValueError):
        bits = 0
    try:
        degrees = int(zone.read_text(encoding="ascii")) / 1000
    except (OSError, ValueError):
        if not bits:
            return skipped("temperature", "this computer does not tell it")
        detail = "unknown"
    else:
        detail = f"{degrees:.0f} °C"
        if degrees >= _HOT_C:
            return warning("temperature", detail, "cool it: a heat sink, a fan, or a place out of the sun")
    if bits & _UNDER_VOLTAGE_NOW:
        return warning(
            "temperature", f"{detail}, under-voltage", "use the power supply made for this board and a short cable"
        )
    if bits & _THROTTLED_NOW:
        return warning(
            "temperature", f"{detail}, slowed down", "cool it: a heat sink, a fan, or a place out of the sun"
        )
    if bits >> _SINCE_BOOT_BITS:
        return warning(
            "temperature", f"{detail}, was slowed down or short of power since boot", "check cooling and power supply"
        )
    return ok("temperature", detail)


def service_state() -> str | None:
    """Return systemd's word for the service (`active`, `failed`, `inactive`, …); None where it is not installed."""
    if not _SYSTEMD.is_dir() or _ask("systemctl", "show", "--property=LoadState", "--value", SERVICE) != "loaded":
        return None
    return _ask("systemctl", "show", "--property=ActiveState", "--value", SERVICE) or None


def check_service(state: str | None, systemd: Path = _SYSTEMD) -> Check:
    """Whether the service is installed and runs."""
    match state:
        case None if not systemd.is_dir():
            return skipped(
                "service", "systemd does not run here", "whatever starts programs here has to start vire-edge run"
            )
        case None:
            return skipped("service", "not installed", "to start at boot: sudo deploy/install.sh")
        case "active" | "activating" | "reloading":
            return ok("service", state)
        case "failed":
            return failure(
                "service", state, f"see why: journalctl -u {SERVICE} -n 30; then: sudo systemctl restart {SERVICE}"
            )
    return warning("service", state, f"start it now and at each boot: sudo systemctl enable --now {SERVICE}")


def _ask(command: str, *arguments: str) -> str:
    """Return a command's line of output; empty where it is missing, fails or hangs."""
    path = shutil.which(command)
    if path is None:
        return ""
    try:
        answer = subprocess.run(  # noqa: S603 - a fixed command of the system
            [path, *arguments], capture_output=True, text=True, timeout=_COMMAND_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return answer.stdout.strip()
