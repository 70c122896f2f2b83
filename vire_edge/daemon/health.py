"""The device's figures about itself, for the health report."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable
from pathlib import Path

LATENCY_SAMPLES = 300
"""Half a minute at ten frames a second."""
_THERMAL_ZONE = Path("/sys/class/thermal/thermal_zone0/temp")
_MEMORY = Path("/proc/self/statm")


def resident_mb() -> float:
    """Return the resident memory of this process in MiB."""
    resident_pages = int(_MEMORY.read_text(encoding="ascii").split()[1])
    return resident_pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def processor_temperature_c() -> float | None:
    """Return the processor's temperature in °C; None where it cannot be read."""
    try:
        return int(_THERMAL_ZONE.read_text(encoding="ascii")) / 1000
    except (OSError, ValueError):
        return None


def percentile(values: Iterable[float], share: float) -> float | None:
    """Return the value below which `share` (0..1) of `values` lie; None without values."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None


class FrameMeter:
    """Counts one camera's analysed frames and the time from capture to result."""

    def __init__(self) -> None:
        self.latencies_ms: deque[float] = deque(maxlen=LATENCY_SAMPLES)
        self._frames = 0
        self._since: float | None = None

    def count(self, *, captured: float, now: float) -> None:
        """Count a frame; both times in monotonic seconds."""
        self._frames += 1
        self.latencies_ms.append(max(0.0, now - captured) * 1000)

    def frames_per_second(self, *, now: float) -> float:
        """Return the rate since the last call."""
        elapsed = 0.0 if self._since is None else now - self._since
        rate = self._frames / elapsed if elapsed > 0 else 0.0
        self._frames, self._since = 0, now
        return rate
