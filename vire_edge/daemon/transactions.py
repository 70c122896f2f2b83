"""The commands of late that were carried out, so that none is carried out a second time."""

from __future__ import annotations

import json
from collections import deque

import structlog

from vire_edge.daemon.ports import Memory
from vire_edge.domain import Instant

MAX_REMEMBERED = 256
"""Commands that are known again."""
TRANSACTIONS_KEY = "transactions"
"""Under which they are remembered."""

log = structlog.get_logger()


class Transactions:
    """Knows commands again by their transactions.

    Those that changed something survive a restart; of a question only this run knows, and questions never push out
    what changed something.
    """

    def __init__(self, memory: Memory) -> None:
        """Begin with none.

        Args:
            memory: keeps them over a restart.
        """
        self._memory = memory
        self._changes: deque[str] = deque(maxlen=MAX_REMEMBERED)
        self._questions: deque[str] = deque(maxlen=MAX_REMEMBERED)

    def __contains__(self, transaction: str) -> bool:
        return transaction in self._changes or transaction in self._questions

    def add(self, transaction: str, *, changes: bool, now: Instant) -> None:
        """Remember a command that was carried out; `changes` if it did more than ask."""
        (self._changes if changes else self._questions).append(transaction)
        if changes:
            self._memory.remember(TRANSACTIONS_KEY, json.dumps(list(self._changes)), now=now)

    def restore(self, now: Instant) -> None:
        """Recall those of before a restart."""
        recalled = self._memory.recall(TRANSACTIONS_KEY, now=now)
        if recalled is None:
            return
        try:
            self._changes.extend(str(transaction) for transaction in json.loads(recalled.value))
        except (ValueError, TypeError):
            log.warning("what was remembered of commands cannot be read", key=TRANSACTIONS_KEY)
