"""Alerts and the daemon's memory, on disk: nothing is lost between an episode and the broker's acknowledgement."""

from vire_edge.outbox.outbox import Outbox, Recalled

__all__ = ["Outbox", "Recalled"]
