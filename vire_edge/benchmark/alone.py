"""One contestant in a fresh process of its own: what it takes of memory, and until it sees its first picture."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from vire_edge.benchmark.contestants import NAIVE, OURS, Contestant, PipelineContestant, rivals, use_one_thread
from vire_edge.benchmark.peers import load_peer
from vire_edge.benchmark.scenes import find_scene, read_shots
from vire_edge.config import Config
from vire_edge.errors import VireError

_PROGRAM = "import time; began = time.monotonic(); from vire_edge.benchmark.alone import main; main(began)"


@dataclass(frozen=True, slots=True)
class Alone:
    """What one contestant took by itself."""

    peak_mib: float
    """Resident memory at its highest, Python and all libraries included."""
    first_look_seconds: float
    """From Python's start, imports included, until the first picture was seen."""
    frames: int


def measure_alone(name: str, source: str, config: Config, *, fps: float, seconds: float) -> Alone:
    """Let one contestant look at a clip or camera in a process of its own.

    Args:
        name: "ours", "naive" or one of `PEERS`.
        source: of the pictures, as a camera's is given.
        config: the user's.
        fps: frames a second.
        seconds: of media time.

    Raises:
        VireError: the process failed.
    """
    order = {
        "name": name,
        "source": source,
        "config": config.model_dump_json(exclude={"mqtt", "broker"}),
        "fps": fps,
        "seconds": seconds,
    }
    command = [sys.executable, "-P", "-c", _PROGRAM]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(  # noqa: S603 - this interpreter on this module
        command, input=json.dumps(order), capture_output=True, text=True, env=environment, check=False
    )
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"status {done.returncode}"]
        raise VireError(f"measuring {name} in a process of its own failed: {lines[-1]}")
    return Alone(**json.loads(done.stdout.splitlines()[-1]))


def main(began: float) -> None:
    """Do what standard input orders; the result goes to standard output.

    Args:
        began: when this process did, monotonic seconds.
    """
    order = json.loads(sys.stdin.read())
    use_one_thread()
    config = Config.model_validate_json(order["config"])
    contestant = _contestant(order["name"], config)
    scene = find_scene(order["source"], config.cameras[0])
    frames, first = 0, 0.0
    for shot in read_shots(scene, fps=order["fps"], seconds=order["seconds"]):
        contestant.look(shot)
        frames += 1
        first = first or time.monotonic() - began
    print(json.dumps(asdict(Alone(peak_mib(), first, frames))))  # noqa: T201 - to the process that asked


def _contestant(name: str, config: Config) -> Contestant:
    both = rivals(config)
    if name in (OURS, NAIVE):
        return PipelineContestant(name, both.ours if name == OURS else both.naive)
    return load_peer(name)


def peak_mib(pid: int | str = "self") -> float:
    """The highest resident memory of a process so far. Not `ru_maxrss`, which a child inherits from its parent."""
    return _memory_mib(pid, "VmHWM")


def resident_mib(pid: int | str = "self") -> float:
    """The resident memory of a process now."""
    return _memory_mib(pid, "VmRSS")


def _memory_mib(pid: int | str, key: str) -> float:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{key}:"))
