"""A network between a device and its broker that fails where it hurts."""

from __future__ import annotations

import enum
import socket
import threading
import time

from brokers import PATIENCE_SECONDS, Wire

CHUNK_BYTES = 256
"""A slow link passes on so much at a time."""


class Direction(enum.Enum):
    """Which way data goes."""

    TO_BROKER = enum.auto()
    TO_DEVICE = enum.auto()


class BadWire(Wire):
    """A wire that breaks after a given byte, or that is slow."""

    def __init__(self, target_port: int) -> None:
        """Listen on a free port; at first all is well.

        Args:
            target_port: where the broker listens.
        """
        self._budget: dict[Direction, int] = {}
        self._lock = threading.Lock()
        self._was_cut = threading.Event()
        self._bytes_per_second: float | None = None
        self._delay_seconds = 0.0
        super().__init__(target_port)

    def cut_after(self, count: int, direction: Direction) -> None:
        """Break the connection once `count` more bytes have passed; returns when that has happened."""
        self._was_cut.clear()
        with self._lock:
            self._budget[direction] = count
        assert self._was_cut.wait(PATIENCE_SECONDS), "nothing more came that could be cut"

    def slow_down(self, *, bytes_per_second: float, delay_seconds: float) -> None:
        """Be slow from now on."""
        self._bytes_per_second, self._delay_seconds = bytes_per_second, delay_seconds

    def speed_up(self) -> None:
        """Be as fast as before."""
        self._bytes_per_second, self._delay_seconds = None, 0.0

    def _pass(self, data: bytes, source: socket.socket, sink: socket.socket) -> None:
        direction = Direction.TO_BROKER if source in self._clients else Direction.TO_DEVICE
        with self._lock:
            budget = self._budget.get(direction)
            if budget is not None:
                self._budget[direction] = budget - len(data)
        if budget is not None and budget <= len(data):
            sink.sendall(data[:budget])
            with self._lock:
                del self._budget[direction]
            self._was_cut.set()
            raise ConnectionAbortedError
        if self._delay_seconds:
            time.sleep(self._delay_seconds)
        for start in range(0, len(data), CHUNK_BYTES):
            chunk = data[start : start + CHUNK_BYTES]
            if self._bytes_per_second is not None:
                time.sleep(len(chunk) / self._bytes_per_second)
            sink.sendall(chunk)
