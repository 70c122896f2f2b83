"""A model file from elsewhere is first opened and run in a process of its own, with little memory and time.

What a graph costs cannot be told from the file: a thousand bytes may ask for a terabyte while ONNX Runtime folds
constants, for hours of multiplications, or for an operator that crashes. The runtime's own limits don't reach there
(an arena's bound leaves out what is folded on opening; a run is ended only between two operators), and a process's
limits must not fall on the daemon. `inspect` has seen to it that sizes depend on nothing but the number of faces, so
what a trial has shown holds for every picture, and for as long as the process lives: the daemon, which builds its
pipeline anew when that fails, opens the same bytes again at once.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

from vire_edge.emotions.session import MAX_BATCH, PROBES, open_session
from vire_edge.emotions.wire import RefusedError

MEMORY_MIB = 256
"""Beyond what Python and ONNX Runtime take by themselves."""
CPU_SECONDS = 10
"""To open it and read twenty faces."""
WALL_SECONDS = 60
"""For all, with the start of Python on a small board whose memory card is slow. The work itself is bounded above: what
takes longer waits for a machine that is busy with other things."""
_FROM_OUTSIDE = (signal.SIGKILL, signal.SIGTERM)
"""No model ends a process by these; a kernel that is short of memory does, or whoever stops the daemon."""
_passed: set[bytes] = set()
"""Digests of the models that have stood their trial in this process."""


class UnfinishedError(Exception):
    """Why a trial has shown nothing about the model, in words that fit behind the model's name."""


def try_out(content: bytes, *, cpu_seconds: int = CPU_SECONDS, wall_seconds: float = WALL_SECONDS) -> None:
    """Let another process open a model and read faces with it, unless one has done so before.

    Args:
        content: the bytes of a file that has been inspected.
        cpu_seconds: how long it may work.
        wall_seconds: how long it may take.

    Raises:
        RefusedError: it breaks the contract, or takes too much memory or work, or crashes the process.
        UnfinishedError: the machine has not let the trial come to its end.
    """
    digest = sha256(content).digest()
    if digest in _passed:
        return
    command = [sys.executable, "-P", "-c", "from vire_edge.emotions.trial import main; main()", str(cpu_seconds)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    try:
        done = subprocess.run(  # noqa: S603 - this interpreter on this module; the model comes through a pipe
            command, input=content, capture_output=True, timeout=wall_seconds, env=environment, check=False
        )
    except subprocess.TimeoutExpired:
        raise UnfinishedError(f"trying it out has taken more than {wall_seconds:g} s") from None
    except OSError as error:
        raise UnfinishedError(f"no process can be started to try it out ({error.strerror})") from error
    if -done.returncode in _FROM_OUTSIDE:
        raise UnfinishedError(f"trying it out was ended from outside ({signal.Signals(-done.returncode).name})")
    if done.returncode == -signal.SIGXCPU:
        raise RefusedError(f"it takes more than {cpu_seconds} s of the processor to open and try out")
    if done.returncode < 0:
        raise RefusedError(f"it crashes ONNX Runtime ({signal.Signals(-done.returncode).name})")
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        raise RefusedError(lines[-1] if lines else f"trying it out ended with status {done.returncode}")
    _passed.add(digest)


def main() -> None:
    """Try out the model on standard input; what is wrong with it goes to standard error, with status 1."""
    content = sys.stdin.buffer.read()
    _limit(int(sys.argv[1]))
    try:
        open_session(content, threads=1, probes=(*PROBES, MAX_BATCH))
    except RefusedError as error:
        sys.exit(str(error))
    except MemoryError:
        sys.exit(f"it takes more than {MEMORY_MIB} MiB of memory")


def _limit(cpu_seconds: int) -> None:
    """Bound this process from here on."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    used = resource.getrusage(resource.RUSAGE_SELF)
    for what, bound in (
        (resource.RLIMIT_AS, pages * resource.getpagesize() + (MEMORY_MIB << 20)),
        (resource.RLIMIT_CPU, int(used.ru_utime + used.ru_stime) + cpu_seconds),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
    ):
        _, most = resource.getrlimit(what)
        resource.setrlimit(what, (bound if most == resource.RLIM_INFINITY else min(bound, most), most))
