"""The one place that imports Keras, ONNX and Optuna: they are an optional extra.

Keras chooses its backend itself (`KERAS_BACKEND`, or its `keras.json`; TensorFlow when
neither says otherwise), and nothing in this package is written for one of them.
"""

from __future__ import annotations

import contextlib
import enum
import importlib
import importlib.util
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import vire_edge
from vire_edge.errors import DependencyError

KerasModel = Any
"""A `keras.Model`; Keras ships no types."""


class Precision(enum.StrEnum):
    """What a network computes in while it learns; its weights are float32 always."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    """Half the bits in convolutions: `vire` learns 1.3 times as fast on a processor that has them in hardware."""


def check_packages(*names: str) -> None:
    """Make sure that packages are installed, without the seconds that importing them takes.

    Raises:
        DependencyError: some are not; it names them all.
    """
    missing = [name for name in names if not _is_installed(name)]
    if missing:
        raise DependencyError(f"this command needs {', '.join(missing)}, not installed here; {_remedy()}")


def load_keras() -> Any:
    """Return the module `keras` with its backend loaded.

    Raises:
        DependencyError: Keras or its backend is not installed.
    """
    if "keras" in sys.modules:
        return sys.modules["keras"]
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # "triggered tf.function retracing", where two networks read one after another: advice for whoever writes the loop.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    # TensorFlow 2.21 writes two notes on oneDNN before its own switch takes effect.
    with quiet_stderr():
        return _require("keras")


def load_onnx() -> Any:
    """Return the module `onnx`.

    Raises:
        DependencyError: onnx is not installed.
    """
    return _require("onnx")


def load_optuna() -> Any:
    """Return the module `optuna`, which then logs only what is broken.

    Raises:
        DependencyError: Optuna is not installed.
    """
    optuna = _require("optuna")
    optuna.logging.set_verbosity(optuna.logging.CRITICAL)
    return optuna


def load_matplotlib() -> Any:
    """Return the module `matplotlib` with its figures, without pyplot: no window, no state that figures share.

    Raises:
        DependencyError: matplotlib is not installed.
    """
    _require("matplotlib.figure")
    return _require("matplotlib")


def environment() -> dict[str, str]:
    """Versions that a run's result depends on: name → version."""
    names = ("keras", load_keras().backend.backend(), "numpy", "cv2", "onnx", "matplotlib")
    return {name: str(getattr(_require(name), "__version__", "unknown")) for name in names}


def _require(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise DependencyError(
            f"this command needs {module.partition('.')[0]}, which cannot be imported ({error}); {_remedy()}"
        ) from error


def _is_installed(name: str) -> bool:
    if name in sys.modules:
        return sys.modules[name] is not None
    return importlib.util.find_spec(name) is not None


def _remedy() -> str:
    """How to install the extra: from the checkout that this package is part of, else from wherever it came."""
    root = Path(vire_edge.__file__).parents[1]
    if not root.joinpath("pyproject.toml").exists():
        return "run: pip install 'vire-edge[train]'"
    return f"run: pip install -e '{'.' if root == Path.cwd() else root}[train]'"


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
    """Drop what native code writes to the error stream; Python's exceptions still come through."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:  # noqa: PTH123  # a file object for its descriptor
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
