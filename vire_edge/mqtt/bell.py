"""Wakes a thread that waits for the network."""

from __future__ import annotations

import socket


class Bell:
    """Wakes the thread that waits for the network."""

    def __init__(self) -> None:
        self._ear, self._hammer = socket.socketpair()
        self._ear.setblocking(False)
        self._hammer.setblocking(False)

    def fileno(self) -> int:
        """What to wait for."""
        return self._ear.fileno()

    def ring(self) -> None:
        """Wake the waiting thread, or keep it from falling asleep."""
        try:
            self._hammer.send(b"\0")
        except BlockingIOError:
            return  # it has been rung often enough

    def silence(self) -> None:
        """Be ready for the next ring."""
        try:
            while self._ear.recv(4096):
                pass
        except BlockingIOError:
            return

    def close(self) -> None:
        """Give the sockets back."""
        self._ear.close()
        self._hammer.close()
