"""Whether anybody hears the alerts: what the broker's acknowledgements tell of the subscribers. Pure.

All alerts go to one topic (those of an earlier device_id or topic_prefix, too: see
`Messages.readdress`), so any of them can ask for all. While it is not known that somebody is
subscribed, one is sent at a time, the oldest: were ten under way when a caregiver comes back, she
would get the later ones first and never the earlier ones in their order. Once somebody hears, ten
are under way again; only who leaves and comes back within their flight can miss that order.

A refusal is asked again like that, too: a right may be given back and a quota run free, and nobody tells.
"""

from __future__ import annotations

TAKEN = 0
NO_SUBSCRIBERS = 16
REFUSED = 128
"""Reason codes from this one on are refusals."""
UNDELIVERABLE = frozenset({144, 153})
"""Topic name invalid, payload format invalid: refusals of this one message, now and for ever."""
PROBE_SECONDS = 30.0
"""How often the oldest alert asks again whether somebody has come: small, and soon enough for a person."""


class Hearing:
    """Decides when an alert may go out. Used by the connection's thread; `news` by any."""

    def __init__(self, probe_seconds: float = PROBE_SECONDS) -> None:
        """Begin without a connection.

        Args:
            probe_seconds: time between two attempts while nobody is subscribed.
        """
        self._probe_seconds = probe_seconds
        self._heard: bool | None = None
        self._next_probe = 0.0
        self._news = False

    @property
    def nobody(self) -> bool:
        """Whether the broker has said that nobody is there, or that alerts may not pass."""
        return self._heard is False

    @property
    def unknown(self) -> bool:
        """Whether no alert has been answered on this connection."""
        return self._heard is None

    def connected(self) -> None:
        """A new connection: who is subscribed is not known."""
        self._heard = None

    def news(self) -> None:
        """An alert has come: it does not wait for the next attempt."""
        self._news = True

    def may_send(self, *, in_flight: int, now: float) -> bool:
        """Whether the next alert may go out.

        Args:
            in_flight: alerts that were sent and not answered.
            now: monotonic seconds.
        """
        if self._heard:
            return True
        return not in_flight and (self._heard is None or self._news or now >= self._next_probe)

    def sent(self, now: float) -> None:
        """An alert went out at `now`, monotonic seconds."""
        self._news = False
        self._next_probe = now + self._probe_seconds

    def learn(self, code: int) -> bool:
        """Learn from the reason code of an alert's answer; whether the alert has reached somebody.

        A code in `UNDELIVERABLE` tells nothing of the others.
        """
        self._heard = code != NO_SUBSCRIBERS and code < REFUSED
        return self._heard
