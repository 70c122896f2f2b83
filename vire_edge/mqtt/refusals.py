"""What the broker does not take on this connection, in words. Each topic is told of once."""

from __future__ import annotations

from dataclasses import dataclass

import structlog

NOT_AUTHORIZED = 135
_ALLOW = "allow this user to publish there, or set device_id to the login"
MAX_TOPICS = 64
"""So many are told of: an answer's topic holds a stranger's word."""

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Case:
    topic: str
    too_large: bool = False


class Refusals:
    """Written by the connection's thread."""

    def __init__(self) -> None:
        self.text = ""
        """What is refused now, and the remedy; empty while the broker takes everything. May be read by any thread."""
        self._texts: dict[_Case, str] = {}
        self._told: set[_Case] = set()

    def connected(self) -> None:
        """A new connection: what it takes is not known."""
        self._told.clear()
        self._texts.clear()
        self.text = ""

    def refused(self, topic: str, code: int, name: str) -> None:
        """The broker answered a message with this reason code."""
        remedy = _ALLOW if code == NOT_AUTHORIZED else "look into the broker's log"
        self._tell(_Case(topic), f"({name}); {remedy}")

    def too_large(self, topic: str, size: int, limit: int) -> None:
        """A message has more bytes than the broker takes, and is lost; said until the connection ends."""
        self._tell(_Case(topic, too_large=True), f"({size} bytes, it takes {limit}); raise its limit")

    def taken(self, topic: str) -> None:
        """The broker took a message."""
        if self._texts.pop(_Case(topic), None) is not None:
            self.text = next(iter(self._texts.values()), "")

    def _tell(self, case: _Case, why: str) -> None:
        text = f'the broker does not take messages on "{case.topic}" {why}'
        if case not in self._told:
            if len(self._told) == MAX_TOPICS:
                return
            self._told.add(case)
            log.warning("message_refused", reason=text)
        self._texts[case] = text
        self.text = next(iter(self._texts.values()))
