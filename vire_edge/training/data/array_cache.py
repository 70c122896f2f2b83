"""Named arrays ↔ a file, so that data are read once. A file is whole or absent; a damaged one counts as absent."""

from __future__ import annotations

import os
import tempfile
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vire_edge.errors import StorageError

Arrays = dict[str, NDArray[Any]]


def default_cache() -> Path:
    """Where arrays are kept between commands: `$XDG_CACHE_HOME/vire-edge/datasets`."""
    root = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(root) / "vire-edge" / "datasets"


def read_arrays(path: Path) -> Arrays | None:
    """The arrays, or None where there are none or where they are damaged (they are then made again)."""
    try:
        with path.open("rb") as file, np.load(file) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError, EOFError, KeyError, zlib.error, zipfile.BadZipFile):
        return None


def write_arrays(path: Path, arrays: Arrays) -> None:
    """Write the arrays in one step.

    Raises:
        StorageError: the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Written beside its place and moved there, so that a kill leaves no half file under the final name.
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            half = Path(folder) / path.name
            np.savez(half, **arrays)  # type: ignore[arg-type]
            half.replace(path)
    except OSError as error:
        raise StorageError(
            f"{path.parent} cannot be written ({error.strerror}); set XDG_CACHE_HOME to a folder with 100 MB free"
        ) from error
