"""What only starting has needed goes back to the system.

Of 142 MB that are resident after the start with one camera, 22 are pages of OpenCV's and ONNX Runtime's code that ran
once, to register operators, codecs and optimizations.
"""

from __future__ import annotations

import ctypes
import gc
import mmap
import re
from collections.abc import Iterator
from pathlib import Path

_MAPPINGS = Path("/proc/self/smaps")
_UNCHANGED_CODE = re.compile(
    r"^([0-9a-f]+)-([0-9a-f]+) r-xp .*\.so.*\n(?:[A-Z].*\n)*?Private_Dirty: +0 kB$", re.MULTILINE
)
_M_ARENA_MAX = -8
"""From malloc.h."""


def share_one_heap() -> None:
    """Let all threads that are started from now on take memory from one heap.

    glibc gives each its own otherwise, with holes of its own: 2 MB with one camera, 3 with four. Other C libraries
    have no such call, nor the need.
    """
    allocator = getattr(ctypes.CDLL(None), "mallopt", None)
    if allocator is not None:
        allocator(_M_ARENA_MAX, 1)


def return_what_starting_took() -> None:
    """Let go of the shared libraries' code, and look for garbage among new objects alone.

    Code that runs again is mapped again, a page in microseconds as long as the system has the file in its cache, and
    the system is free to use the rest for something else. What anybody has changed in memory stays.
    """
    gc.freeze()
    gc.enable()
    library = ctypes.CDLL(None)
    for start, end in _code_as_in_its_file():
        library.madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), mmap.MADV_DONTNEED)


def _code_as_in_its_file() -> Iterator[tuple[int, int]]:
    """Where the code of shared libraries lies that nobody has changed."""
    try:
        mappings = _MAPPINGS.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return
    for found in _UNCHANGED_CODE.finditer(mappings):
        yield int(found[1], 16), int(found[2], 16)
