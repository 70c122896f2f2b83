"""Composition root: starts the parts, runs the one main loop, stops them again."""

from vire_edge.daemon.daemon import Daemon
from vire_edge.daemon.service import run_service

__all__ = ["Daemon", "run_service"]
