"""What must move, and what is done where it stands still: begin it anew, ever more patiently, and give up in the end.

Time is passed in. The watchdog of systemd stands behind all this: it is fed only while nothing stands still.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from vire_edge.errors import StandstillError, VireError

MAX_RESTARTS = 4
"""So often a part is begun anew before the whole daemon is. With the waits in between that takes fifteen seconds: the
daemon ends by itself, and remembers, before systemd's watchdog of thirty ends it."""
STEADY_SECONDS = 600.0
"""A part that has moved for this long has recovered; its earlier restarts no longer count."""
_FIRST_WAIT_SECONDS = 1.0
"""Between two restarts; doubles each time."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Part:
    """Something without which nobody is watched over."""

    name: str
    complaint: Callable[[float], str]
    """Asked once a second, in monotonic seconds: what stands still; empty while it moves, or rests for a reason."""
    restart: Callable[[], None]
    """Begins it anew. A `VireError` says that even this failed."""


@dataclass(slots=True)
class _Record:
    restarts: int = 0
    total: int = 0
    last: float = float("-inf")
    next: float = float("-inf")


class Supervisor:
    """Looks after the parts."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self._parts = parts
        self._records = {part.name: _Record() for part in parts}

    @property
    def restarts(self) -> dict[str, int]:
        """How often each part had to be begun anew since the start; those never are left out."""
        return {name: record.total for name, record in self._records.items() if record.total}

    def check(self, now: float) -> bool:
        """Restart what stands still.

        Args:
            now: monotonic seconds.

        Returns:
            Whether everything moves.

        Raises:
            StandstillError: a part stands still after `MAX_RESTARTS` fresh starts.
        """
        moving = [self._check(part, self._records[part.name], now) for part in self._parts]  # all, not up to the first
        return all(moving)

    def _check(self, part: Part, record: _Record, now: float) -> bool:
        complaint = part.complaint(now)
        if not complaint:
            if now - record.last >= STEADY_SECONDS:
                record.restarts = 0
            return True
        if now < record.next:
            return False
        if record.restarts >= MAX_RESTARTS:
            raise StandstillError(
                f"{part.name} {complaint}, and {MAX_RESTARTS} restarts of it did not help; the daemon ends, "
                "so that the service manager starts it anew"
            )
        record.last, record.next = now, now + _FIRST_WAIT_SECONDS * 2**record.restarts
        record.restarts += 1
        record.total += 1
        log.error("standstill", part=part.name, what=complaint, restart=record.restarts)
        try:
            part.restart()
        except VireError as error:
            log.error("restart failed", part=part.name, reason=str(error))  # noqa: TRY400  # the message says it all
        return False
