"""What goes over the wire."""

from __future__ import annotations

from dataclasses import dataclass

from vire_edge.domain.alert import Severity


@dataclass(frozen=True, slots=True)
class Message:
    """What goes over the wire."""

    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = False
    expiry_seconds: int | None = None
    """After this nobody wants it any more: it is neither sent nor, with MQTT 5, kept by the broker."""
    severity: Severity | None = None
    """Of the alert that it carries; None for anything else, which gives way to alerts."""
