"""The run directory: settings, checkpoint, history, figures and models of one training run.

Every file is whole or absent, after a power cut too.
"""

from __future__ import annotations

import csv
import io
import json
import os
import zipfile
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path
from shlex import quote
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vire_edge.errors import StorageError, TrainingError
from vire_edge.training.run_files import arrays_of, check_writable, whole_or_absent, write_whole

HELD_OUT = "held_out.bin"
"""In a run's directory and in its Keras file: the keys of its held-out faces, one after another."""


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
    start: list[NDArray[Any]]
    """The weights that the run began with; empty where they have no share in those that are kept."""


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
    def held_out(self) -> Path:
        """Keys of the faces that choose and calibrate and are not learnt from, as the Keras file has them, too."""
        return self.path / HELD_OUT

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
        begun = {
            name for path in (self.data, self.environment, self.held_out) for name in (path.name, path.name + ".half")
        }
        if self.path.exists() and not {entry.name for entry in self.path.iterdir()} <= begun:
            raise TrainingError(f"{self.path} holds other files and no run; name a new folder with --run")

    def write_json(self, path: Path, value: Any) -> None:
        """Write `value` as JSON in one step."""
        write_whole(path, json.dumps(value, indent=2, default=str).encode() + b"\n")

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
        write_whole(self.path / "history.csv", text.getvalue().encode())

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
        write_whole(path, content)

    def save_model(self, path: Path, model: Any) -> None:
        """Save a Keras model in one step, and in it which faces it was calibrated on, where the run knows."""
        half = path.with_suffix(".half.keras")
        with whole_or_absent(path, half):
            model.save(half)
            if self.held_out.exists():
                with zipfile.ZipFile(half, "a") as archive:
                    archive.write(self.held_out, HELD_OUT)
            with half.open("rb+") as file:
                os.fsync(file.fileno())
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
        write_whole(self.checkpoint, buffer.getvalue())

    def load_checkpoint(self) -> Checkpoint:
        """The last one saved."""
        with arrays_of(self.checkpoint) as arrays:
            # An archive lists its arrays in the order in which they were written.
            return Checkpoint(
                *(
                    [arrays[name] for name in arrays.files if name.rsplit("_", 1)[0] == field]
                    for field in Checkpoint._fields
                )
            )

    def save_weights(self, weights: list[NDArray[np.floating[Any]]], epoch: int) -> None:
        """Save the chosen weights and the epoch, from 1, that they are of, in one step."""
        buffer = io.BytesIO()
        np.savez(buffer, *weights, epoch=np.array(epoch))
        write_whole(self.kept, buffer.getvalue())

    def load_weights(self) -> tuple[list[NDArray[np.floating[Any]]], int | None]:
        """The chosen weights and their epoch, which a run of an earlier version does not tell."""
        with arrays_of(self.kept) as arrays:
            weights = [arrays[name] for name in arrays.files if name != "epoch"]
            return weights, int(arrays["epoch"]) if "epoch" in arrays.files else None

    def forget_results(self) -> None:
        """Remove what an earlier end of the run left: from here on it would be of another epoch than the run is.

        Raises:
            StorageError: a file cannot be removed.
        """
        for path in (self.metrics, self.onnx_model, self.keras_model):
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise StorageError(f"{path} cannot be removed ({error.strerror}); permit it") from error


def held_out_in(network: Path) -> bytes:
    """What `HELD_OUT` holds in a Keras file; nothing where it is of another origin, damaged or missing."""
    try:
        with zipfile.ZipFile(network) as archive:
            return archive.read(HELD_OUT)
    except (OSError, KeyError, zipfile.BadZipFile, zlib.error):
        return b""
