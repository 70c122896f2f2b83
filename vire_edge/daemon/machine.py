"""What this computer tells of itself, read from /proc and /sys without privileges, as the hardened service has it."""

from __future__ import annotations

import os
import time
from pathlib import Path

from vire_edge.daemon.governor import Reading

_RESIDENT = Path("/proc/self/statm")
_THROTTLED = Path("devices/platform/soc/soc:firmware/get_throttled")
"""What a Raspberry Pi's firmware tells its kernel, which asks every two seconds. The kernel warns once that the file is
deprecated; all that is left without it is /dev/vcio, through which one can do much more than read."""
_SLOWED_DOWN = 0b0110
"""Frequency capped, throttled. Not under-voltage by itself (bit 0), nor the 3B+'s mild first step at 60 °C (bit 3)."""


class Machine:
    """The computer's sensors; one that it does not have says nothing.

    Args:
        sysfs: where the kernel tells of devices.
    """

    def __init__(self, sysfs: Path = Path("/sys")) -> None:
        self._zone = sysfs / "class/thermal/thermal_zone0/temp"
        self._throttled = sysfs / _THROTTLED
        self._brakes = [
            kind.with_name("cur_state")
            for kind in sorted(sysfs.glob("class/thermal/cooling_device*/type"))
            if _is_processor(_text(kind))
        ]

    def read(self) -> Reading:
        """Return what the daemon takes and how the processor is now."""
        return Reading(time.process_time(), self.temperature_c(), self._is_throttled())

    def temperature_c(self) -> float | None:
        """Return the processor's temperature in °C; None where it cannot be read."""
        millidegrees = _number(self._zone)
        return None if millidegrees is None else millidegrees / 1000

    def _is_throttled(self) -> bool:
        bits = _number(self._throttled, base=16) or 0
        return bool(bits & _SLOWED_DOWN) or any((_number(brake) or 0) > 0 for brake in self._brakes)


def resident_mb() -> float:
    """Return the resident memory of this process in MiB."""
    resident_pages = int(_RESIDENT.read_text(encoding="ascii").split()[1])
    return resident_pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _is_processor(cooling_device: str) -> bool:
    """Whether a cooling device works by slowing the processor down: cpufreq's own, or ACPI's."""
    return "cpufreq" in cooling_device or cooling_device == "Processor"


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""


def _number(path: Path, *, base: int = 10) -> int | None:
    try:
        return int(_text(path), base)
    except ValueError:
        return None
