"""The real daemon as a process, before a clip in real time: share of a core, memory."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from vire_edge.benchmark.alone import peak_mib, resident_mib
from vire_edge.errors import VireError

WARM_UP_SECONDS = 6.0
"""Until cameras are open, the broker is reached and the first report is out."""
STOP_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class DaemonCost:
    """What a daemon took once it was under way."""

    what: str
    cameras: int
    cpu_percent: float
    """Of one core."""
    resident_mib: float
    peak_mib: float
    seconds: float


def measure_daemon(
    what: str,
    clip: Path,
    *,
    cameras: int,
    fps: float,
    seconds: float,
    folder: Path,
    warm_up_seconds: float = WARM_UP_SECONDS,
) -> DaemonCost:
    """Run `vire-edge run` with its defaults and the embedded broker before a clip that begins again and again.

    Args:
        what: the scene's name.
        clip: what each camera shows.
        cameras: how many.
        fps: frames a second.
        seconds: for how long it is measured.
        folder: for its state and its log.
        warm_up_seconds: before that.

    Raises:
        VireError: it ended by itself.
    """
    shown = [
        {"name": f"camera-{number}", "source": str(clip), "fps": fps, "loop": True} for number in range(1, cameras + 1)
    ]
    with _running_daemon(shown, folder) as daemon:
        _wait(daemon, warm_up_seconds, folder)
        began, used = time.monotonic(), _cpu_seconds(daemon.pid)
        _wait(daemon, seconds, folder)
        elapsed = time.monotonic() - began
        return DaemonCost(
            what,
            cameras,
            cpu_percent=100 * (_cpu_seconds(daemon.pid) - used) / elapsed,
            resident_mib=resident_mib(daemon.pid),
            peak_mib=peak_mib(daemon.pid),
            seconds=elapsed,
        )


def free_port() -> int:
    """Return a port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def _running_daemon(cameras: Sequence[dict[str, object]], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    config = folder / "config.toml"
    config.touch()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("VIRE_EDGE_")} | {
        "VIRE_EDGE_DEVICE_ID": "benchmark",
        "VIRE_EDGE_STATE_DIR": str(folder / "state"),
        "VIRE_EDGE_CAMERAS": json.dumps(cameras),
        "VIRE_EDGE_BROKER__PORT": str(free_port()),
    }
    command = [sys.executable, "-m", "vire_edge", "run", "--config", str(config)]
    with _log(folder).open("wb") as log, subprocess.Popen(command, env=environment, stdout=log, stderr=log) as daemon:  # noqa: S603 - our own
        try:
            yield daemon
        finally:
            daemon.terminate()
            with suppress(subprocess.TimeoutExpired):
                daemon.wait(STOP_SECONDS)
            daemon.kill()


def _wait(daemon: subprocess.Popen[bytes], seconds: float, folder: Path) -> None:
    try:
        status = daemon.wait(seconds)
    except subprocess.TimeoutExpired:
        return
    last_line = _log(folder).read_text(encoding="utf-8", errors="replace").strip().rpartition("\n")[2]
    raise VireError(f"the daemon ended with status {status}: {last_line.removeprefix('vire-edge: ')}")


def _log(folder: Path) -> Path:
    return folder / "daemon.log"


def _cpu_seconds(pid: int) -> float:
    """What all threads of a process have used, proc(5)'s utime and stime."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
