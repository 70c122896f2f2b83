"""systemd's readiness and watchdog protocol, sd_notify(3): datagrams to the socket that it names."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping


class ServiceManager:
    """Tells systemd how the service is; does nothing when started by hand."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        # A leading "@" names a socket without a file, which the kernel spells with a zero byte.
        self._address = "\0" + address[1:] if address.startswith("@") else address

    def ready(self) -> None:
        """The service has started."""
        self._send("READY=1")

    def stopping(self) -> None:
        """The service has begun to stop."""
        self._send("STOPPING=1")

    def feed_watchdog(self, status: str) -> None:
        """The service moves; `status` is a line for `systemctl status`."""
        self._send(f"WATCHDOG=1\nSTATUS={status}")

    def _send(self, text: str) -> None:
        if not self._address:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as connection:
            try:
                connection.sendto(text.encode(), self._address)
            except OSError:
                return  # the manager is gone or overrun; it counts on the next message, not on this one
