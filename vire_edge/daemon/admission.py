"""Which commands are let in: not too many at a time, and none a second time. Time is passed in."""

from __future__ import annotations

import enum
import json
from collections import deque

import structlog

from vire_edge.daemon.ports import Memory
from vire_edge.domain import Instant

AT_ONCE = 10
"""Commands of one kind that are carried out without a pause; nobody taps faster than that for long."""
PER_SECOND = 1.0
"""And then so many each second."""
REFUSALS = 3
"""So many of those that come too fast are told so; the rest is only counted, or a flood would cause another."""
TRANSACTIONS = 256
"""Commands that are known again."""
TRANSACTIONS_KEY = "transactions"
"""Under which they are remembered."""

log = structlog.get_logger()


class Admission(enum.Enum):
    """What to do with a command that has come."""

    ADMIT = enum.auto()
    REFUSE = enum.auto()
    """It comes too fast; say so."""
    IGNORE = enum.auto()
    """It comes too fast, and that was said often enough."""


class Allowance:
    """How many commands may come: a bucket of tokens that fills by itself."""

    def __init__(self) -> None:
        self._tokens = float(AT_ONCE)
        self._counted_at = float("-inf")
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


class Transactions:
    """The commands of late that were carried out, by their transactions.

    Those that changed something survive a restart; of a question only this run knows, and questions never push out
    what changed something.
    """

    def __init__(self, memory: Memory | None) -> None:
        """Begin with none.

        Args:
            memory: keeps them over a restart.
        """
        self._memory = memory
        self._changes: deque[str] = deque(maxlen=TRANSACTIONS)
        self._questions: deque[str] = deque(maxlen=TRANSACTIONS)

    def __contains__(self, transaction: str) -> bool:
        return transaction in self._changes or transaction in self._questions

    def add(self, transaction: str, *, changes: bool, now: Instant) -> None:
        """Remember a command that is carried out; `changes` if it does more than ask."""
        (self._changes if changes else self._questions).append(transaction)
        if changes and self._memory is not None:
            self._memory.remember(TRANSACTIONS_KEY, json.dumps(list(self._changes)), now=now)

    def restore(self, now: Instant) -> None:
        """Recall those of before the restart."""
        recalled = None if self._memory is None else self._memory.recall(TRANSACTIONS_KEY, now=now)
        if recalled is None:
            return
        try:
            self._changes.extend(str(transaction) for transaction in json.loads(recalled.value))
        except (ValueError, TypeError):
            log.warning("what was remembered of commands cannot be read", key=TRANSACTIONS_KEY)
