"""Whether a camera that claims to be well brings frames."""

from __future__ import annotations

from vire_edge.daemon.ports import Camera
from vire_edge.domain import CameraStatus

GRACE_SECONDS = 10.0
"""How much longer than its `stall_seconds` an online camera may bring nothing before that is our own fault."""


class FrameProgress:
    """One camera's frames as the main loop gets them. A camera that is known to be away stands still for a reason."""

    def __init__(self, camera: Camera, *, stall_seconds: float) -> None:
        self._camera = camera
        self._patience = stall_seconds + GRACE_SECONDS
        self._last: float | None = None

    def frame(self, now: float) -> None:
        """A frame came, at `now` in monotonic seconds."""
        self._last = now

    def complaint(self, now: float) -> str:
        """What stands still, `now` in monotonic seconds; empty while nothing does."""
        camera = self._camera
        if not camera.alive:
            return "has ended"
        status = camera.state.status
        if self._last is None or not camera.live or status not in {CameraStatus.ONLINE, CameraStatus.DARK}:
            self._last = now
        silent = now - self._last
        return f"is {status} and has brought no frame for {silent:.0f} s" if silent > self._patience else ""
