"""48×48 faces → emotion scores, with ONNX Runtime. Refuses a model that breaks the contract."""

from __future__ import annotations

import ctypes
from importlib.resources import files
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as pybind_state

from vire_edge.domain import (
    EMOTIONS,
    MODEL_CONTRACT_VERSION,
    MODEL_INPUT,
    MODEL_METADATA_PREFIX,
    MODEL_OUTPUT,
    EmotionScores,
)
from vire_edge.errors import ModelError
from vire_edge.preprocess import FACE_SIZE

SHIPPED_MODEL = "vire.onnx"
MAX_MODEL_BYTES = 64 * 1024 * 1024
"""The shipped model has a few MiB; anything much larger is no model for this device."""
_RUNTIME_ERRORS = tuple(
    kind for kind in vars(pybind_state).values() if isinstance(kind, type) and issubclass(kind, Exception)
)
"""ONNX Runtime's own errors: they share no base class."""
_REMEDY = "export one with: vire-edge export"


def shipped_model_path() -> Path:
    """Return the model that comes with the package, or with the source tree it is run from."""
    package = Path(str(files("vire_edge")))
    installed = package / "models" / SHIPPED_MODEL
    return installed if installed.exists() else package.parent / "models" / SHIPPED_MODEL


class OnnxEmotionClassifier:
    """The exported network.

    Args:
        path: an ONNX file under the model contract; None for the shipped one.
        threads: processor threads for one batch.

    Raises:
        ModelError: the file is missing, damaged, or its input, output or labels differ.
    """

    def __init__(self, path: Path | None = None, *, threads: int = 1) -> None:
        self.path = path or shipped_model_path()
        self._session = _open(self.path, threads)
        metadata = self._session.get_modelmeta().custom_metadata_map
        _check_contract(self.path, self._session, metadata)
        self.architecture: str = metadata.get(f"{MODEL_METADATA_PREFIX}architecture", "unknown")

    def classify(self, faces: NDArray[np.uint8]) -> list[EmotionScores]:
        """Score a batch of faces.

        Args:
            faces: uint8 `[N, 48, 48]`.

        Returns:
            N scores in the same order.
        """
        if not len(faces):
            return []
        (probabilities,) = self._session.run([MODEL_OUTPUT], {MODEL_INPUT: faces[..., np.newaxis]})
        return [EmotionScores(tuple(row)) for row in np.asarray(probabilities, dtype=np.float64).tolist()]


def _open(path: Path, threads: int) -> onnxruntime.InferenceSession:
    try:
        size = path.stat().st_size
        content = path.read_bytes() if size <= MAX_MODEL_BYTES else b""
    except FileNotFoundError:
        raise ModelError(
            f"model {path} does not exist; leave out model.path for the shipped one, or {_REMEDY}"
        ) from None
    except OSError as error:
        raise ModelError(f"model {path} cannot be read: {error.strerror}") from None
    if size > MAX_MODEL_BYTES:
        raise ModelError(f"model {path} has {size >> 20} MiB, more than {MAX_MODEL_BYTES >> 20}; {_REMEDY}")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Threads that spin while they wait would burn a core between two frames.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # From bytes, not from the path: a graph that names external files then has nothing to name them by.
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except _RUNTIME_ERRORS as error:
        first_line = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ModelError(f"model {path} is truncated or no ONNX model ({first_line[:160]}); {_REMEDY}") from error
    del content
    _return_freed_memory()
    return session


def _return_freed_memory() -> None:
    """Give back what optimizing the graph has freed: 17 of the 40 MB that opening the shipped model takes.

    glibc keeps it otherwise; other C libraries have no such call, nor the need.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _check_contract(path: Path, session: onnxruntime.InferenceSession, metadata: dict[str, str]) -> None:
    def refuse(what: str, expected: object, got: object) -> ModelError:
        return ModelError(f"model {path}: {what} must be {expected}, got {got}; {_REMEDY}")

    version = metadata.get(f"{MODEL_METADATA_PREFIX}contract")
    if version != MODEL_CONTRACT_VERSION:
        raise refuse("the contract version", MODEL_CONTRACT_VERSION, version or "none")
    labels = metadata.get(f"{MODEL_METADATA_PREFIX}labels", "")
    if labels != ",".join(EMOTIONS):
        raise refuse("the labels", ",".join(EMOTIONS), labels or "none")
    described = (
        ("input", session.get_inputs(), MODEL_INPUT, "tensor(uint8)", [FACE_SIZE, FACE_SIZE, 1]),
        ("output", session.get_outputs(), MODEL_OUTPUT, "tensor(float)", [len(EMOTIONS)]),
    )
    for what, tensors, name, kind, shape in described:
        expected = f"{name!r} {kind} [N, {', '.join(str(side) for side in shape)}]"
        got = ", ".join(f"{tensor.name!r} {tensor.type} {tensor.shape}" for tensor in tensors)
        if len(tensors) != 1 or tensors[0].name != name or tensors[0].type != kind or tensors[0].shape[1:] != shape:
            raise refuse(f"the {what}", expected, got)
        if isinstance(tensors[0].shape[0], int):
            raise refuse(f"the {what}'s first dimension", "free (N faces)", tensors[0].shape[0])
