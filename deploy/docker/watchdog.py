#!/usr/bin/env python3
"""What systemd is to the service, for a container: runs the daemon, hears its heartbeat, ends it when that stops.

Speaks systemd's protocol, sd_notify(3), so that the daemon is the same in both. The daemon sends its heartbeat only
while its cameras and its pipeline make progress. The time of the last one is that of the file HEARTBEAT, for the
health check. Ends as the daemon ends, and leaves it to the container engine to begin anew.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HEARTBEAT = Path(tempfile.gettempdir()) / "vire-edge.heartbeat"
START_SECONDS = 90.0
"""A small board loads OpenCV and ONNX Runtime from a slow card."""
WATCHDOG_SECONDS = 30.0
"""Without a heartbeat for this long the daemon stands still."""
ABORT_SECONDS = 5.0
TICK_SECONDS = 0.5


def main(command: list[str]) -> int:
    """Run the command and return its exit status, as a shell would."""
    limit_seconds = int(os.environ.get("WATCHDOG_USEC", WATCHDOG_SECONDS * 1e6)) / 1e6
    HEARTBEAT.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as inbox:
        inbox.bind(f"{folder}/notify")
        inbox.settimeout(TICK_SECONDS)
        with subprocess.Popen(command, env={**os.environ, "NOTIFY_SOCKET": f"{folder}/notify"}) as daemon:  # noqa: S603 - the image's own command
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda number, _: daemon.send_signal(number))
            watch(daemon, inbox, limit_seconds)
    # A daemon that died of a signal: 128 and its number.
    return daemon.returncode if daemon.returncode >= 0 else 128 - daemon.returncode


def watch(daemon: subprocess.Popen[bytes], inbox: socket.socket, limit_seconds: float) -> None:
    """Return once the daemon has ended, by itself or because its heartbeat did."""
    allowed_seconds = START_SECONDS
    due = time.monotonic() + allowed_seconds
    while daemon.poll() is None:
        try:
            words = inbox.recv(4096).split(b"\n")
        except TimeoutError:
            words = []
        if b"WATCHDOG=1" in words:
            HEARTBEAT.touch()
            allowed_seconds = limit_seconds
            due = time.monotonic() + allowed_seconds
        elif time.monotonic() > due:
            sys.stderr.write(f"watchdog: no heartbeat for {allowed_seconds:.0f} s, the daemon is ended\n")
            end(daemon)


def end(daemon: subprocess.Popen[bytes]) -> None:
    """Abort it, as systemd does; kill it if it can't even do that."""
    daemon.send_signal(signal.SIGABRT)
    try:
        daemon.wait(ABORT_SECONDS)
    except subprocess.TimeoutExpired:
        daemon.kill()
        daemon.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
