"""The device's report on itself."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import vire_edge
from vire_edge.daemon.frame_rates import FrameRates
from vire_edge.daemon.machine import resident_mb
from vire_edge.daemon.ports import Camera, Outbox, Publisher
from vire_edge.daemon.supervision import Supervisor
from vire_edge.domain import CameraStatus, Frame, Instant
from vire_edge.messages import CameraHealth, DeliveryHealth, HealthPayload

DUE_GRACE_SECONDS = 10.0
"""Reports come with the main loop's ticks and over slow links; one that comes late by less than this is no alarm."""
RATE_SECONDS = 10.0
"""What frame rate and latencies speak of."""
MIN_RATE_SECONDS = 2.0
"""With less a rate says nothing."""
MAX_SAMPLES = 600
"""Ten seconds at sixty frames a second."""


class HealthReporter:
    """Keeps what the reports need.

    Args:
        device_id: the device.
        cameras: its cameras.
        publisher: the way to the broker.
        outbox: where alerts wait for it.
        supervisor: what has restarted parts of the daemon.
        rates: what is asked of the cameras, and of the computer.
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
        outbox: Outbox,
        supervisor: Supervisor,
        rates: FrameRates,
        interval_seconds: float,
        model: str,
        started: Instant,
    ) -> None:
        self._device_id = device_id
        self._cameras = cameras
        self._publisher = publisher
        self._outbox = outbox
        self._supervisor = supervisor
        self._rates = rates
        self._interval_seconds = interval_seconds
        self._model = model
        self._started = started
        self._meters = {camera.name: _FrameMeter(started.monotonic) for camera in cameras}

    def count(self, frame: Frame, *, now: float) -> None:
        """Count a frame whose analysis ended at `now`, monotonic seconds."""
        self._meters[frame.camera].count(captured=frame.monotonic, now=now)

    def report(self, now: Instant, *, paused_until: datetime | None) -> HealthPayload:
        """Return the report of this moment; `paused_until` if the cameras are closed on request."""
        stats = self._publisher.stats()
        return HealthPayload(
            device_id=self._device_id,
            at=now.utc,
            version=vire_edge.__version__,
            model=self._model,
            uptime_seconds=now.monotonic - self._started.monotonic,
            next_due_at=now.utc + timedelta(seconds=self._interval_seconds + DUE_GRACE_SECONDS),
            paused_until=paused_until,
            cameras={camera.name: self._camera(camera, now.monotonic) for camera in self._cameras},
            delivery=DeliveryHealth(
                protocol=None if stats.version is None else stats.version.value,
                queued=stats.queued,
                delivered=stats.delivered,
                unheard=stats.unheard,
                expired=self._outbox.expired,
                evicted=self._outbox.evicted,
                undeliverable=self._outbox.dropped - self._outbox.expired - self._outbox.evicted,
                refused=stats.last_error if stats.connected else "",
                reconnects=stats.reconnects,
                ignored_commands=stats.ignored_commands,
                storage=self._outbox.trouble or _damage(self._outbox.set_aside),
            ),
            restarts=self._supervisor.restarts,
            cpu_percent=self._rates.cpu_percent,
            memory_mb=resident_mb(),
            temperature_c=self._rates.temperature_c,
        )

    def _camera(self, camera: Camera, now: float) -> CameraHealth:
        meter = self._meters[camera.name]
        status = camera.state.status
        pace = self._rates.pace(camera.name)
        return CameraHealth(
            status=status,
            fps=meter.frames_per_second(now=now) if status in {CameraStatus.ONLINE, CameraStatus.DARK} else None,
            target_fps=pace.fps,
            lowered_by=pace.lowered_by,
            dropped=camera.frames_dropped,
            reopened=camera.reopened,
            latency_ms_p50=_percentile(meter.latencies_ms, 0.5),
            latency_ms_p95=_percentile(meter.latencies_ms, 0.95),
        )


class _FrameMeter:
    """One camera's analysed frames of late, and the time that each took from capture to result."""

    def __init__(self, started: float) -> None:
        self._started = started
        self._frames: deque[tuple[float, float]] = deque(maxlen=MAX_SAMPLES)

    @property
    def latencies_ms(self) -> list[float]:
        """Milliseconds, one for each frame."""
        return [latency_ms for _, latency_ms in self._frames]

    def count(self, *, captured: float, now: float) -> None:
        """Count a frame; both times in monotonic seconds."""
        self._frames.append((now, max(0.0, now - captured) * 1000))

    def frames_per_second(self, *, now: float) -> float | None:
        """Return the rate of the last seconds; None while there are not enough of them."""
        while self._frames and self._frames[0][0] < now - RATE_SECONDS:
            self._frames.popleft()
        full = len(self._frames) == MAX_SAMPLES
        elapsed = now - self._frames[0][0] if full else min(RATE_SECONDS, now - self._started)
        return len(self._frames) / elapsed if elapsed >= MIN_RATE_SECONDS else None


def _damage(set_aside: Path | None) -> str:
    return "" if set_aside is None else f"a damaged state file was set aside as {set_aside}, with alerts not yet sent"


def _percentile(values: Iterable[float], share: float) -> float | None:
    """Return the value below which `share` (0..1) of `values` lie; None without values."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None
