"""How many commands may come: a bucket of tokens that fills by itself. Pure: time is passed in."""

from __future__ import annotations

import enum

AT_ONCE = 10
"""Commands of one kind that are let in without a pause; nobody taps faster than that for long."""
PER_SECOND = 1.0
"""And then so many each second."""
REFUSALS = 3
"""So many of those that come too fast are told so; the rest is only counted, or a flood would cause another."""


class Admission(enum.Enum):
    """What to do with a command that has come."""

    ADMIT = enum.auto()
    REFUSE = enum.auto()
    """It comes too fast; say so."""
    IGNORE = enum.auto()
    """It comes too fast, and that was said often enough."""


class Allowance:
    """What one kind of command may take."""

    def __init__(self) -> None:
        self._tokens = 0.0
        self._counted_at = float("-inf")  # so long ago that the bucket is full
        self._refused = 0

    def admit(self, now: float) -> Admission:
        """Count a command; `now` in monotonic seconds."""
        self._tokens = min(AT_ONCE, self._tokens + (now - self._counted_at) * PER_SECOND)
        self._counted_at = now
        if self._tokens >= 1:
            self._tokens -= 1
            self._refused = 0
            return Admission.ADMIT
        self._refused += 1
        return Admission.REFUSE if self._refused <= REFUSALS else Admission.IGNORE
