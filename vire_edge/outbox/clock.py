"""Time across reboots: where a moment of an earlier boot stands on the present monotonic clock."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from vire_edge.domain import Instant

NEVER_SET_BEFORE = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
"""A wall clock that shows less has not been set: this software is younger."""
JUMP_SECONDS = 5.0
"""A wall clock that was set by more than this is written down: after a reboot it tells how long we were away."""
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def read_boot() -> str:
    """Return what tells this boot from all others; empty where the kernel does not say."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""


@dataclass(frozen=True, slots=True)
class Clock:
    """Both clocks, and the boot that the monotonic one belongs to."""

    boot: str
    """Empty when unknown: then no other is the same boot."""
    monotonic: float
    utc: float
    """Seconds since 1970."""

    @classmethod
    def read(cls, boot: str, now: Instant) -> Clock:
        """Return the clocks of this moment."""
        return cls(boot, now.monotonic, now.utc.timestamp())

    def shift_to(self, now: Clock) -> float:
        """Return what to add to a monotonic time of this clock to have it on the clock of `now`.

        Within a boot nothing. After a reboot the wall clocks tell how long the device was off, unless one of
        them was never set or they run backwards: then no time has passed. So a wrong clock can make nothing
        younger than it was at the last write, and without a clock chip nothing older.
        """
        if self.boot and self.boot == now.boot:
            return 0.0
        off_seconds = 0.0
        if min(self.utc, now.utc) >= NEVER_SET_BEFORE:
            off_seconds = max(0.0, now.utc - self.utc)
        return now.monotonic - off_seconds - self.monotonic

    def was_set_before(self, now: Instant) -> bool:
        """Whether somebody set the wall clock between this moment and `now` of the same boot."""
        return abs((now.utc.timestamp() - self.utc) - (now.monotonic - self.monotonic)) > JUMP_SECONDS
