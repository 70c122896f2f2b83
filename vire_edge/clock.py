"""Both clocks, read at once."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from vire_edge.domain import Instant


def read_clocks() -> Instant:
    """Return the present moment."""
    return Instant(time.monotonic(), datetime.now(UTC))
