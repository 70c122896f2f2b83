"""Keras model → the one file that the edge runs, under the model contract, and the proof that both agree."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import re
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as pybind_state

from vire_edge.domain import EMOTIONS, MODEL_CONTRACT_VERSION, MODEL_INPUT, MODEL_METADATA_PREFIX, MODEL_OUTPUT
from vire_edge.errors import DependencyError, ModelError, StorageError
from vire_edge.preprocess import FACE_SIZE
from vire_edge.training.architectures import LOGITS
from vire_edge.training.backend import KerasModel, load_keras, load_onnx

PARITY = 1e-4
"""Largest difference allowed between Keras' and ONNX Runtime's probabilities."""
ON_TENSORFLOW = "finish the run on TensorFlow: KERAS_BACKEND=tensorflow vire-edge train --run DIRECTORY --resume"
_RUNTIME_ERRORS: tuple[type[Exception], ...] = tuple(
    kind for kind in vars(pybind_state).values() if isinstance(kind, type) and issubclass(kind, Exception)
)
"""ONNX Runtime's own errors: they share no base class."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a model comes from; travels in the file's metadata."""

    architecture: str
    dataset_digest: str
    split_digest: str
    metrics: Mapping[str, Any]
    training_command: str

    def metadata(self, *, temperature: float, created_at: datetime) -> dict[str, str]:
        """Key → value as the contract names them."""
        values = {
            "contract": MODEL_CONTRACT_VERSION,
            "labels": ",".join(EMOTIONS),
            "architecture": self.architecture,
            "dataset_digest": self.dataset_digest,
            "split_digest": self.split_digest,
            "metrics": json.dumps(self.metrics),
            "training_command": self.training_command,
            "created_at": created_at.astimezone(UTC).isoformat(timespec="seconds"),
            "temperature": f"{temperature:.6f}",
        }
        return {MODEL_METADATA_PREFIX + name: value for name, value in values.items()}


def calibrated(model: KerasModel, temperature: float) -> KerasModel:
    """The same network with its logits divided by the temperature before the softmax."""
    keras = load_keras()
    logits = keras.layers.Rescaling(1 / temperature, name="temperature")(model.get_layer(LOGITS).output)
    return keras.Model(model.input, keras.layers.Softmax(name=MODEL_OUTPUT)(logits), name=model.name)


def export(model: KerasModel, path: Path, *, temperature: float, provenance: Provenance) -> None:
    """Write the model file.

    Args:
        model: uint8 `[N, 48, 48, 1]` → probabilities `[N, 7]`, with a layer named `LOGITS` before the softmax.
        path: the ONNX file to write.
        temperature: what the logits are divided by, fitted on images that were not learnt from.
        provenance: for the metadata.

    Raises:
        ModelError: the network cannot be exported, or the graph breaks the contract or computes something else.
        StorageError: the file, or the exporter's temporary one, cannot be written.
        DependencyError: Keras or onnx is not installed.
    """
    onnx = load_onnx()
    final = calibrated(model, temperature)
    probe = np.random.default_rng(0).integers(0, 256, (8, *final.input_shape[1:]), dtype=np.uint8)
    # Called, not predicted with: Keras exports only a model that was, and predicting on JAX is not calling.
    expected = load_keras().ops.convert_to_numpy(final(probe))
    graph = onnx.load_from_string(_exported(final))
    _rename(graph.graph, MODEL_INPUT, MODEL_OUTPUT)
    graph.doc_string = "Reads the emotion in a 48×48 gray face. See models/README.md."
    onnx.helper.set_model_props(graph, provenance.metadata(temperature=temperature, created_at=datetime.now(UTC)))
    try:
        onnx.checker.check_model(graph, full_check=True)
    except onnx.checker.ValidationError as error:
        raise ModelError(f"what Keras exported is no valid ONNX graph ({_first_line(error)})") from error
    content = graph.SerializeToString()
    try:
        difference = float(np.abs(run_bytes(content, probe) - expected).max())
    except _RUNTIME_ERRORS as error:
        raise ModelError(
            f"what Keras exported on this backend does not run ({_first_line(error)}); {ON_TENSORFLOW}"
        ) from error
    # Not a number is no parity, either.
    if not difference <= PARITY:
        raise ModelError(
            f"the exported graph differs from the Keras model by {difference:.1e}, more than {PARITY}; "
            "another version of keras or tf2onnx may export it right"
        )
    write_model(path, content)


def _exported(model: KerasModel) -> bytes:
    """The ONNX file that Keras makes."""
    try:
        with tempfile.TemporaryDirectory() as folder:
            raw = Path(folder) / "model.onnx"
            with _quiet():
                model.export(raw, format="onnx", verbose=False)
            return raw.read_bytes()
    except ImportError as error:
        raise DependencyError(f"Keras cannot export on this backend ({error}); {ON_TENSORFLOW}") from error
    except OSError as error:
        raise StorageError(
            f"{tempfile.gettempdir()} cannot be written ({error.strerror}); free some space, or set TMPDIR"
        ) from error
    except (RuntimeError, ValueError, TypeError) as error:
        # What exporters raise of a network that they cannot follow; each has errors of its own under these.
        raise ModelError(f"Keras cannot export on this backend ({_first_line(error)}); {ON_TENSORFLOW}") from error


def prepare_place(path: Path) -> None:
    """Make the folder of a file that is written later, so that what cannot be written is known before the work.

    Raises:
        StorageError: the folder cannot be made or written.
    """
    problem = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        problem = error.strerror
    else:
        if path.is_dir():
            problem = os.strerror(errno.EISDIR)
        elif path.exists() and not path.is_file():
            problem = "it is no regular file"
        elif not os.access(path.parent, os.W_OK):
            problem = os.strerror(errno.EACCES)
    if problem:
        raise StorageError(f"{path} cannot be written ({problem}); name another file")


def write_model(path: Path, content: bytes) -> None:
    """Write a model file in one step, its folder made where there is none.

    Raises:
        StorageError: it cannot be written.
    """
    prepare_place(path)
    half = path.with_name(path.name + ".half")
    try:
        half.write_bytes(content)
        half.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            half.unlink(missing_ok=True)
        raise StorageError(f"{path} cannot be written ({error.strerror}); name another file") from error


Reader = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""Faces uint8 `[N, 48, 48]` → probabilities `[N, 7]`."""


def run_bytes(content: bytes, faces: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Probabilities `[N, 7]` of a serialized model for uint8 faces `[N, 48, 48, 1]`."""
    return _run(onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"]), faces)


def open_model(path: Path) -> Reader:
    """Open a model file to read faces with.

    Raises:
        ModelError: the file is missing or no model of this contract; the reader raises it, too.
    """
    try:
        session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    except OSError as error:
        raise ModelError(
            f"{path} cannot be read ({error.strerror}); give an .onnx file that vire-edge exported"
        ) from error
    except _RUNTIME_ERRORS as error:
        raise _breach(path, _first_line(error)) from error
    described = (
        ("takes", session.get_inputs(), (MODEL_INPUT, "tensor(uint8)", [FACE_SIZE, FACE_SIZE, 1])),
        ("gives", session.get_outputs(), (MODEL_OUTPUT, "tensor(float)", [len(EMOTIONS)])),
    )
    for verb, tensors, expected in described:
        found = [(tensor.name, tensor.type, tensor.shape[1:]) for tensor in tensors]
        if found != [expected]:
            told = " and ".join(f"{name} {kind} [N, {', '.join(map(str, shape))}]" for name, kind, shape in found)
            raise _breach(path, f"it {verb} {told or 'nothing'}")

    def read(faces: NDArray[np.uint8]) -> NDArray[np.float32]:
        try:
            return _run(session, faces[..., None])
        except _RUNTIME_ERRORS as error:
            raise _breach(path, _first_line(error)) from error

    return read


def _breach(path: Path, what: str) -> ModelError:
    return ModelError(f"{path} is no model that reads faces ({what}); export one with: vire-edge export")


def _first_line(error: Exception) -> str:
    """ONNX Runtime's words, without its name, number and constant before them."""
    words = next(iter(str(error).strip().splitlines()), "")
    return re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", words).rstrip(".") or type(error).__name__


def run_file(path: Path, faces: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Probabilities `[N, 7]` of a model file for uint8 faces `[N, 48, 48]`.

    Raises:
        ModelError: the file is missing or no model of this contract.
    """
    return open_model(path)(faces)


def _run(session: Any, faces: NDArray[np.uint8]) -> NDArray[np.float32]:
    probabilities: NDArray[np.float32] = session.run([MODEL_OUTPUT], {MODEL_INPUT: faces})[0]
    return probabilities


def _rename(graph: Any, input_name: str, output_name: str) -> None:
    """Give the graph's only input and output the contract's names, and the batch a readable one."""
    names = {graph.input[0].name: input_name, graph.output[0].name: output_name}
    for value in (graph.input[0], graph.output[0]):
        value.name = names[value.name]
        value.type.tensor_type.shape.dim[0].dim_param = "N"
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keras prints its progress; exporters warn of what they trace. What comes out is compared with Keras instead."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
