"""An inspected file's bytes → a session of ONNX Runtime that keeps the model's contract and gives probabilities."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as pybind_state

from vire_edge.domain import EMOTIONS, MODEL_CONTRACT_VERSION, MODEL_INPUT, MODEL_METADATA_PREFIX, MODEL_OUTPUT
from vire_edge.emotions.wire import RefusedError
from vire_edge.preprocess import FACE_SIZE

MAX_BATCH = 16
"""More faces are read one batch after the other: memory then has a bound, which a trial has seen."""
PROBES = (1, 3)
"""Faces in each batch that a model must read before it is used."""
_ROUNDING = 1e-3
_RUNTIME_ERRORS = tuple(
    kind for kind in vars(pybind_state).values() if isinstance(kind, type) and issubclass(kind, Exception)
)
"""ONNX Runtime's own errors: they share no base class."""


@dataclass(frozen=True, slots=True)
class Session:
    """A model that is open."""

    runtime: onnxruntime.InferenceSession
    architecture: str

    def read(self, faces: NDArray[np.uint8]) -> list[list[float]]:
        """Score faces.

        Args:
            faces: uint8 `[N, 48, 48]`.

        Returns:
            For each face the probabilities of the seven emotions.

        Raises:
            RefusedError: ONNX Runtime fails, or what comes out are no probabilities.
        """
        rows: list[list[float]] = []
        for start in range(0, len(faces), MAX_BATCH):
            batch = faces[start : start + MAX_BATCH, ..., np.newaxis]
            try:
                (raw,) = self.runtime.run([MODEL_OUTPUT], {MODEL_INPUT: batch})
            except _RUNTIME_ERRORS as error:
                raise RefusedError(f"it cannot read {len(batch)} faces ({_first_line(error)})") from error
            probabilities = np.asarray(raw, dtype=np.float64)
            if not _are_probabilities(probabilities, len(batch)):
                raise RefusedError(f"it gives no probabilities for {len(batch)} faces")
            rows += probabilities.tolist()
        return rows


def open_session(content: bytes, *, threads: int, probes: tuple[int, ...] = PROBES) -> Session:
    """Open a model, hold it to the contract and let it read gray faces.

    Args:
        content: the bytes of a file that has been inspected.
        threads: processor threads for one batch.
        probes: how many faces each probing batch has.

    Raises:
        RefusedError: it is no model, breaks the contract or gives no probabilities.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Threads that spin while they wait would burn a core between two frames.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # An arena keeps what the largest batch has taken, 7 MB after sixteen faces, and makes none any quicker (measured
    # for batches of 1 to 16, as were memory patterns, parallel execution and the graph levels: no gain over these).
    options.enable_cpu_mem_arena = False
    # From bytes, not from the path: a graph that names external files then has nothing to name them by.
    try:
        runtime = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except _RUNTIME_ERRORS as error:
        raise RefusedError(f"ONNX Runtime cannot open it ({_first_line(error)})") from error
    metadata: dict[str, str] = runtime.get_modelmeta().custom_metadata_map
    _check_contract(runtime, metadata)
    session = Session(runtime, metadata.get(f"{MODEL_METADATA_PREFIX}architecture", "unknown"))
    for count in probes:
        session.read(np.full((count, FACE_SIZE, FACE_SIZE), 128, dtype=np.uint8))
    return session


def _check_contract(runtime: onnxruntime.InferenceSession, metadata: dict[str, str]) -> None:
    def refuse(what: str, expected: object, got: object) -> RefusedError:
        return RefusedError(f"{what} must be {expected}, got {got}")

    version = metadata.get(f"{MODEL_METADATA_PREFIX}contract")
    if version != MODEL_CONTRACT_VERSION:
        raise refuse("the contract version", MODEL_CONTRACT_VERSION, version or "none")
    labels = metadata.get(f"{MODEL_METADATA_PREFIX}labels", "")
    if labels != ",".join(EMOTIONS):
        raise refuse("the labels", ",".join(EMOTIONS), labels or "none")
    described = (
        ("input", runtime.get_inputs(), MODEL_INPUT, "tensor(uint8)", [FACE_SIZE, FACE_SIZE, 1]),
        ("output", runtime.get_outputs(), MODEL_OUTPUT, "tensor(float)", [len(EMOTIONS)]),
    )
    for what, tensors, name, kind, shape in described:
        expected = f"{name!r} {kind} [N, {', '.join(str(side) for side in shape)}]"
        got = ", ".join(f"{tensor.name!r} {tensor.type} {tensor.shape}" for tensor in tensors)
        if len(tensors) != 1 or tensors[0].name != name or tensors[0].type != kind or tensors[0].shape[1:] != shape:
            raise refuse(f"the {what}", expected, got)
        if isinstance(tensors[0].shape[0], int):
            raise refuse(f"the {what}'s first dimension", "free (N faces)", tensors[0].shape[0])


def _are_probabilities(values: NDArray[np.float64], count: int) -> bool:
    """Whether there is a distribution over the emotions for each face; not a number compares as false."""
    return (
        values.shape == (count, len(EMOTIONS))
        and bool((values >= 0).all())
        and bool((values <= 1 + _ROUNDING).all())
        and bool((abs(values.sum(axis=1) - 1) <= _ROUNDING).all())
    )


def _first_line(error: Exception) -> str:
    return (next(iter(str(error).splitlines()), "") or type(error).__name__)[:160]
