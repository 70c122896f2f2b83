"""How a run's files are written and read: beside their place, onto the disk, and moved there."""

from __future__ import annotations

import contextlib
import errno
import os
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from vire_edge.errors import StorageError, TrainingError


def check_writable(folder: Path) -> None:
    """Make sure that a folder can be written, or made where there is none, and leave everything as it is.

    Raises:
        StorageError: it cannot.
    """
    there = next(place for place in (folder, *folder.absolute().parents) if os.access(place, os.F_OK))
    problem = None
    if not there.is_dir():
        problem = os.strerror(errno.ENOTDIR)
    elif not os.access(there, os.W_OK | os.X_OK):
        problem = os.strerror(errno.EACCES)
    if problem:
        raise StorageError(f"{folder} cannot be written ({problem}); name another folder with --run")


@contextlib.contextmanager
def whole_or_absent(path: Path, half: Path) -> Iterator[None]:
    """Leave nothing half written, which would keep a full disk full.

    Raises:
        StorageError: what is done inside fails.
    """
    try:
        yield
    except OSError as error:
        half.unlink(missing_ok=True)
        raise StorageError(f"{path} cannot be written ({error.strerror}); free some space and use --resume") from error


def write_whole(path: Path, content: bytes) -> None:
    """Write a file in one step.

    Raises:
        StorageError: it cannot be written.
    """
    half = path.with_name(path.name + ".half")
    with whole_or_absent(path, half):
        with half.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        half.replace(path)


@contextlib.contextmanager
def arrays_of(path: Path) -> Iterator[Any]:
    """Open an npz file for reading.

    Raises:
        TrainingError: it is missing or damaged.
    """
    try:
        with path.open("rb") as file, np.load(file) as arrays:
            yield arrays
    except (OSError, ValueError, EOFError, KeyError, zlib.error, zipfile.BadZipFile) as error:
        raise TrainingError(f"{path} is damaged ({error}), so the run cannot go on; start a new one") from error
