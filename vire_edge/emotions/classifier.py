"""48×48 faces → emotion scores, with ONNX Runtime. Refuses a file that breaks the contract or could do harm."""

from __future__ import annotations

import ctypes
import stat
from importlib.resources import files
from pathlib import Path

import numpy as np
import structlog
from numpy.typing import NDArray

from vire_edge.domain import EmotionScores
from vire_edge.emotions.inspection import inspect
from vire_edge.emotions.precision import Precision, choose_precision, processor_flags
from vire_edge.emotions.session import Session, open_session
from vire_edge.emotions.trial import UnfinishedError, try_out
from vire_edge.emotions.wire import RefusedError
from vire_edge.errors import MISPLACED, ModelError, ModelUnavailableError

SHIPPED_MODELS = {"float32": "vire.onnx", "int8": "vire-int8.onnx"}
MAX_MODEL_BYTES = 64 * 1024 * 1024
"""The shipped model has a few MiB; anything much larger is no model for this device."""
_REMEDY = "export one with: vire-edge export"
_log = structlog.get_logger()


def shipped_model_path(precision: Precision = "float32") -> Path:
    """Return the model that comes with the package, or with the source tree it is run from.

    Args:
        precision: "auto" for the one that is quicker on this processor.
    """
    name = SHIPPED_MODELS[choose_precision(precision, processor_flags() if precision == "auto" else frozenset())]
    package = Path(str(files("vire_edge")))
    installed = package / "models" / name
    return installed if installed.exists() else package.parent / "models" / name


class OnnxEmotionClassifier:
    """The exported network.

    Args:
        path: an ONNX file under the model contract; None for a shipped one.
        precision: which of the shipped ones.
        threads: processor threads for one batch.

    Raises:
        ModelError: the file is missing, damaged, holds what the exporter never writes, costs too much, or its input,
            output or labels differ.
        ModelUnavailableError: it cannot be read or tried out now.
    """

    def __init__(self, path: Path | None = None, *, precision: Precision = "float32", threads: int = 1) -> None:
        self.path = path or shipped_model_path(precision)
        self._session = _open(self.path, threads)
        self.architecture = self._session.architecture

    def classify(self, faces: NDArray[np.uint8]) -> list[EmotionScores]:
        """Score a batch of faces.

        Args:
            faces: uint8 `[N, 48, 48]`.

        Returns:
            N scores in the same order.

        Raises:
            ModelError: the model fails on these faces.
        """
        try:
            return [EmotionScores(tuple(row)) for row in self._session.read(faces)]
        except RefusedError as error:
            raise ModelError(f"model {self.path}: {error}; look closer with: vire-edge doctor") from error


def _open(path: Path, threads: int) -> Session:
    content = _read(path)
    try:
        inspect(content)
        # Those that come with the package are trusted as its code is, and open three hundred milliseconds sooner.
        if not _is_shipped(path):
            _warn_of_writers(path)
            try_out(content)
        session = open_session(content, threads=threads)
    except RefusedError as error:
        raise ModelError(f"model {path}: {error}; {_REMEDY}") from error
    except UnfinishedError as error:
        raise ModelUnavailableError(f"model {path}: {error}; try again when the device is less busy") from error
    del content
    _return_freed_memory()
    return session


def _read(path: Path) -> bytes:
    try:
        mode = path.stat().st_mode
        if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
            with path.open("rb") as file:
                content = file.read(MAX_MODEL_BYTES + 1)
        else:
            raise ModelError(f"model {path} is no regular file; {_REMEDY}")
    except FileNotFoundError:
        raise ModelError(
            f"model {path} does not exist; leave out model.path for the shipped one, or {_REMEDY}"
        ) from None
    except OSError as error:
        kind = ModelError if isinstance(error, MISPLACED) else ModelUnavailableError
        raise kind(f"model {path} cannot be read: {error.strerror}") from None
    except ValueError:  # a path with a NUL byte in it
        raise ModelError(f"model {str(path)!r} cannot be the name of a file; {_REMEDY}") from None
    if len(content) > MAX_MODEL_BYTES:
        raise ModelError(f"model {path} has more than {MAX_MODEL_BYTES >> 20} MiB; {_REMEDY}")
    return content


def _is_shipped(path: Path) -> bool:
    place = path.resolve()
    return place.name in SHIPPED_MODELS.values() and place.parent == shipped_model_path().resolve().parent


def _warn_of_writers(path: Path) -> None:
    """Say so if every user may put another model in this one's place; a sticky folder such as /tmp keeps its files."""
    for place in (path, path.absolute().parent):
        mode = place.stat().st_mode
        if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            _log.warning("every user can change the model", path=str(place), remedy=f"chmod o-w {place}")


def _return_freed_memory() -> None:
    """Give back what optimizing the graph has freed: 17 of the 40 MB that opening the shipped model takes.

    glibc keeps it otherwise; other C libraries have no such call, nor the need.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
