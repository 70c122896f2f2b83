"""Alerts and the daemon's memory, on disk: nothing is lost between an episode and the broker's acknowledgement."""

from vire_edge.outbox.database import Readdress, Recalled
from vire_edge.outbox.opening import peek
from vire_edge.outbox.outbox import Outbox

__all__ = ["Outbox", "Readdress", "Recalled", "peek"]
