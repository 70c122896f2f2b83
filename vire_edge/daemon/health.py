"""The device's report on itself."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Sequence
from datetime import timedelta
from pathlib import Path

import vire_edge
from vire_edge.daemon.ports import Camera, Publisher
from vire_edge.domain import Frame, Instant
from vire_edge.messages import CameraHealth, DeliveryHealth, HealthPayload

LATENCY_SAMPLES = 300
"""Half a minute at ten frames a second."""
_THERMAL_ZONE = Path("/sys/class/thermal/thermal_zone0/temp")
_MEMORY = Path("/proc/self/statm")


class HealthReporter:
    """Keeps what the reports need.

    Args:
        device_id: the device.
        cameras: its cameras.
        publisher: the way to the broker.
        interval_seconds: time between two reports.
        model: what to say of the model.
        started: when the daemon started.
    """

    def __init__(
        self,
        *,
        device_id: str,
        cameras: Sequence[Camera],
        publisher: Publisher,
        interval_seconds: float,
        model: str,
        started: Instant,
    ) -> None:
        self._device_id = device_id
        self._cameras = cameras
        self._publisher = publisher
        self._interval_seconds = interval_seconds
        self._model = model
        self._started = started
        self._meters = {camera.name: _FrameMeter(started.monotonic) for camera in cameras}

    def count(self, frame: Frame, *, now: float) -> None:
        """Count a frame whose analysis ended at `now`, monotonic seconds."""
        self._meters[frame.camera].count(captured=frame.monotonic, now=now)

    def report(self, now: Instant) -> HealthPayload:
        """Return the report of this moment."""
        stats = self._publisher.stats()
        return HealthPayload(
            device_id=self._device_id,
            at=now.utc,
            version=vire_edge.__version__,
            model=self._model,
            uptime_seconds=now.monotonic - self._started.monotonic,
            next_due_at=now.utc + timedelta(seconds=self._interval_seconds),
            cameras={camera.name: self._camera(camera, now.monotonic) for camera in self._cameras},
            delivery=DeliveryHealth(
                protocol=None if stats.version is None else stats.version.value,
                queued=stats.queued,
                delivered=stats.delivered,
                dropped=stats.dropped,
                reconnects=stats.reconnects,
            ),
            memory_mb=_resident_mb(),
            temperature_c=_processor_temperature_c(),
        )

    def _camera(self, camera: Camera, now: float) -> CameraHealth:
        meter = self._meters[camera.name]
        return CameraHealth(
            status=camera.state.status,
            fps=meter.frames_per_second(now=now),
            dropped=camera.frames_dropped,
            reopened=camera.reopened,
            latency_ms_p50=_percentile(meter.latencies_ms, 0.5),
            latency_ms_p95=_percentile(meter.latencies_ms, 0.95),
        )


class _FrameMeter:
    """Counts one camera's analysed frames and the time from capture to result."""

    def __init__(self, now: float) -> None:
        self.latencies_ms: deque[float] = deque(maxlen=LATENCY_SAMPLES)
        self._frames = 0
        self._since = now

    def count(self, *, captured: float, now: float) -> None:
        """Count a frame; both times in monotonic seconds."""
        self._frames += 1
        self.latencies_ms.append(max(0.0, now - captured) * 1000)

    def frames_per_second(self, *, now: float) -> float:
        """Return the rate since the last call."""
        elapsed = now - self._since
        rate = self._frames / elapsed if elapsed > 0 else 0.0
        self._frames, self._since = 0, now
        return rate


def _resident_mb() -> float:
    """Return the resident memory of this process in MiB."""
    resident_pages = int(_MEMORY.read_text(encoding="ascii").split()[1])
    return resident_pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _processor_temperature_c() -> float | None:
    """Return the processor's temperature in °C; None where it cannot be read."""
    try:
        return int(_THERMAL_ZONE.read_text(encoding="ascii")) / 1000
    except (OSError, ValueError):
        return None


def _percentile(values: Iterable[float], share: float) -> float | None:
    """Return the value below which `share` (0..1) of `values` lie; None without values."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None
