"""The run directory: settings, checkpoint, history, figures and models of one training run.

Every file is whole or absent: it is written beside its place and moved there.
"""

from __future__ import annotations

import contextlib
import csv
import errno
import io
import json
import os
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from shlex import quote
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vire_edge.errors import StorageError, TrainingError


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """One line of a run's history."""

    epoch: int
    """From 1."""
    learning_rate: float
    loss: float
    """On the augmented training images, smoothed and weighted as the recipe says."""
    accuracy: float
    held_out_loss: float
    held_out_accuracy: float
    seconds: float


class Checkpoint(NamedTuple):
    """What a run goes on from. Batches and dropout depend on seed and epoch, so no generator's state is in it."""

    weights: list[NDArray[Any]]
    """In Keras' order, batch-norm statistics included."""
    optimizer: list[NDArray[Any]]
    """The number of steps, from which the learning rate follows, and the optimizer's slots."""
    averaged: list[NDArray[Any]]
    """The moving average of `weights`; empty where the recipe has none."""


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """Paths and formats."""

    path: Path

    @property
    def settings(self) -> Path:
        """What was asked for, JSON."""
        return self.path / "settings.json"

    @property
    def checkpoint(self) -> Path:
        """All that the next epoch depends on, after the last complete one, npz: one file, so that no part is newer."""
        return self.path / "checkpoint.npz"

    @property
    def kept(self) -> Path:
        """Weights of the chosen epoch so far, npz."""
        return self.path / "kept.npz"

    @property
    def keras_model(self) -> Path:
        """The chosen network, Keras."""
        return self.path / "model.keras"

    @property
    def onnx_model(self) -> Path:
        """The chosen network under the model contract, ONNX."""
        return self.path / "model.onnx"

    @property
    def metrics(self) -> Path:
        """Figures of the chosen network, JSON."""
        return self.path / "metrics.json"

    @property
    def confusion(self) -> Path:
        """What the chosen network reads in the evaluation split, by label, CSV."""
        return self.path / "confusion.csv"

    @property
    def confusion_plot(self) -> Path:
        """The same as a picture, PNG."""
        return self.path / "confusion.png"

    @property
    def history_plot(self) -> Path:
        """Loss, accuracy and learning rate of each epoch, PNG."""
        return self.path / "history.png"

    @property
    def before(self) -> Path:
        """What the network that the run went on from had read, JSON."""
        return self.path / "before.json"

    @property
    def data(self) -> Path:
        """Digests and counts of the images, JSON."""
        return self.path / "data.json"

    @property
    def environment(self) -> Path:
        """Versions, JSON."""
        return self.path / "environment.json"

    def create(self) -> None:
        """Make the folder.

        Raises:
            TrainingError: it holds a run already, or other files.
            StorageError: it cannot be made.
        """
        self.check_free()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"{self.path} cannot be made ({error.strerror}); name another with --run") from error

    def check_free(self) -> None:
        """Make sure that a new run can begin here, and leave everything as it is.

        Raises:
            TrainingError: the folder holds a run already, or other files.
            StorageError: it cannot be made or written.
        """
        if self.settings.exists():
            raise TrainingError(f"{self.path} holds a run already; go on with --run {quote(str(self.path))} --resume")
        check_writable(self.path)
        # What a run leaves that was killed while it began is no reason to refuse.
        begun = {name for path in (self.data, self.environment) for name in (path.name, path.name + ".half")}
        if self.path.exists() and not {entry.name for entry in self.path.iterdir()} <= begun:
            raise TrainingError(f"{self.path} holds other files and no run; name a new folder with --run")

    def write_json(self, path: Path, value: Any) -> None:
        """Write `value` as JSON in one step."""
        self._replace(path, json.dumps(value, indent=2, default=str).encode() + b"\n")

    def read_json(self, path: Path) -> Any:
        """Read a file that `write_json` wrote.

        Raises:
            TrainingError: it is missing or damaged.
        """
        try:
            return json.loads(path.read_text())
        except (FileNotFoundError, NotADirectoryError) as error:
            raise TrainingError(
                f"{self.path} is no training run (no {path.name}); give a folder that vire-edge train made"
            ) from error
        except OSError as error:
            raise TrainingError(f"{path} cannot be read ({error.strerror}); permit it, or give another run") from error
        except ValueError as error:
            raise TrainingError(f"{path} is damaged ({error}); give another run, or start a new one") from error

    def write_history(self, records: list[EpochRecord]) -> None:
        """Write the history as JSON and as CSV."""
        rows = [asdict(record) for record in records]
        self.write_json(self.path / "history.json", rows)
        text = io.StringIO()
        writer = csv.DictWriter(text, list(EpochRecord.__dataclass_fields__))
        writer.writeheader()
        writer.writerows(rows)
        self._replace(self.path / "history.csv", text.getvalue().encode())

    def read_history(self, epochs: int | None = None) -> list[EpochRecord]:
        """The first `epochs` records, or all; a kill may have left one more than the checkpoint knows.

        Raises:
            TrainingError: the history is missing, damaged, empty or of another version.
        """
        path = self.path / "history.json"
        try:
            records = [EpochRecord(**row) for row in self.read_json(path)]
        except TypeError as error:
            raise TrainingError(f"{path} is of another version ({error}); start a new run") from error
        if not records:
            raise TrainingError(f"{path} holds no epoch; start a new run")
        return records[:epochs]

    @property
    def epochs_done(self) -> int:
        """How many epochs the history knows; none where there is no history yet."""
        return len(self.read_history()) if (self.path / "history.json").exists() else 0

    def write_bytes(self, path: Path, content: bytes) -> None:
        """Write a file in one step."""
        self._replace(path, content)

    def save_model(self, path: Path, model: Any) -> None:
        """Save a Keras model in one step."""
        half = path.with_suffix(".half.keras")
        with _whole_or_absent(path, half):
            model.save(half)
            half.replace(path)

    def save_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Save it in one step."""
        arrays = {
            f"{field}_{index}": array
            for field, values in zip(Checkpoint._fields, checkpoint, strict=True)
            for index, array in enumerate(values)
        }
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)  # type: ignore[arg-type]
        self._replace(self.checkpoint, buffer.getvalue())

    def load_checkpoint(self) -> Checkpoint:
        """The last one saved."""
        with _arrays_of(self.checkpoint) as arrays:
            # An archive lists its arrays in the order in which they were written.
            return Checkpoint(
                *(
                    [arrays[name] for name in arrays.files if name.rsplit("_", 1)[0] == field]
                    for field in Checkpoint._fields
                )
            )

    def save_weights(self, weights: list[NDArray[np.floating[Any]]]) -> None:
        """Save the chosen weights in one step."""
        buffer = io.BytesIO()
        np.savez(buffer, *weights)
        self._replace(self.kept, buffer.getvalue())

    def load_weights(self) -> list[NDArray[np.floating[Any]]]:
        """The chosen weights."""
        with _arrays_of(self.kept) as arrays:
            return [arrays[name] for name in arrays.files]

    def _replace(self, path: Path, content: bytes) -> None:
        half = path.with_name(path.name + ".half")
        with _whole_or_absent(path, half):
            half.write_bytes(content)
            half.replace(path)


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
def _whole_or_absent(path: Path, half: Path) -> Iterator[None]:
    """Leave nothing half written, which would keep a full disk full."""
    try:
        yield
    except OSError as error:
        half.unlink(missing_ok=True)
        raise StorageError(f"{path} cannot be written ({error.strerror}); free some space and use --resume") from error


@contextlib.contextmanager
def _arrays_of(path: Path) -> Iterator[Any]:
    try:
        with path.open("rb") as file, np.load(file) as arrays:
            yield arrays
    except (OSError, ValueError, EOFError, KeyError, zlib.error, zipfile.BadZipFile) as error:
        raise TrainingError(f"{path} is damaged ({error}), so the run cannot go on; start a new one") from error
