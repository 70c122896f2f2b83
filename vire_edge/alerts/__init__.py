"""Alert rules: smoothed scores and camera states become episodes. Pure: no clock, no I/O."""

from vire_edge.alerts.engine import AlertEngine

__all__ = ["AlertEngine"]
