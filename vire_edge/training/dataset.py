"""A file of labelled faces → `Dataset`: arrays, checked, cached and with a digest. No cleaning, no augmentation.

The digest is taken over the sorted rows, so the same images have the same digest however
they are stored and in whatever order they are listed.
"""

from __future__ import annotations

import enum
import hashlib
import os
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vire_edge.errors import DatasetError, StorageError
from vire_edge.training.fer2013 import read_rows

CACHE_VERSION = "1"
"""Changes when the cached arrays mean something else, so that an older cache is not read."""


class Split(enum.StrEnum):
    """What an image is for, with FER2013's own names."""

    TRAINING = "Training"
    PUBLIC_TEST = "PublicTest"
    PRIVATE_TEST = "PrivateTest"


@dataclass(frozen=True, slots=True)
class Faces:
    """Labelled faces of one purpose."""

    images: NDArray[np.uint8]
    """`[N, 48, 48]` gray, 0..255."""
    labels: NDArray[np.int64]
    """`[N]`, 0..6 in the order of `EMOTIONS`."""
    votes: NDArray[np.float32] | None = None
    """`[N, 7]`, the distribution that several people saw; rows sum to 1."""

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, which: NDArray[np.bool_] | NDArray[np.int64]) -> Faces:
        """The faces that a mask or a list of indices picks."""
        return Faces(self.images[which], self.labels[which], None if self.votes is None else self.votes[which])

    def digest(self) -> str:
        """SHA-256 in hex over label, pixels and votes of every face, independent of their order."""
        votes = [b""] * len(self) if self.votes is None else [row.tobytes() for row in self.votes]
        rows = sorted(
            hashlib.sha256(bytes([label]) + image.tobytes() + vote).digest()
            for image, label, vote in zip(self.images, self.labels.tolist(), votes, strict=True)
        )
        return hashlib.sha256(b"".join(rows)).hexdigest()


@dataclass(frozen=True, slots=True)
class Dataset:
    """All faces of one source, by split."""

    splits: dict[Split, Faces]

    def __getitem__(self, split: Split) -> Faces:
        try:
            return self.splits[split]
        except KeyError:
            held = ", ".join(self.splits) or "nothing"
            raise DatasetError(
                f'the data holds no rows with Usage "{split}", only {held}; give the whole file'
            ) from None

    def digest(self) -> str:
        """SHA-256 in hex over all splits."""
        text = "\n".join(f"{split}:{self.splits[split].digest()}" for split in Split if split in self.splits)
        return hashlib.sha256(text.encode()).hexdigest()


def default_cache() -> Path:
    """Where arrays are kept between commands: `$XDG_CACHE_HOME/vire-edge/datasets`."""
    root = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(root) / "vire-edge" / "datasets"


def load(path: Path, *, cache: Path | None = None, on_row: Callable[[int], None] = lambda _: None) -> Dataset:
    """Read a dataset, from the cache if the same file was read before.

    Args:
        path: the challenge's CSV, plain or gzip-compressed.
        cache: folder for the arrays; `default_cache()` when omitted.
        on_row: called with the number of rows read so far, now and then.

    Raises:
        DatasetError: the file is missing, or a row is broken; the message names its line.
        StorageError: the cache cannot be written.
    """
    folder = default_cache() if cache is None else cache
    try:
        with path.open("rb") as file:
            file_digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DatasetError(
            f"{path} cannot be read ({error.strerror}); give the path of fer2013.csv or fer2013.csv.gz"
        ) from error
    cached = folder / f"{file_digest}-v{CACHE_VERSION}.npz"
    dataset = _read_cache(cached)
    if dataset is None:
        dataset = _read(path, on_row)
        _write_cache(cached, dataset)
    return dataset


def _read(path: Path, on_row: Callable[[int], None]) -> Dataset:
    names = tuple(str(split) for split in Split)
    rows: dict[Split, tuple[list[bytes], list[int]]] = {}
    for count, row in enumerate(read_rows(path, names), start=1):
        images, labels = rows.setdefault(Split(row.usage), ([], []))
        images.append(row.pixels)
        labels.append(row.label)
        if count % 1000 == 0:
            on_row(count)
    if not rows:
        raise DatasetError(f"{path} holds no rows after its header; is the download complete?")
    return Dataset(
        {
            split: Faces(np.frombuffer(b"".join(images), np.uint8).reshape(-1, 48, 48), np.array(labels, np.int64))
            for split, (images, labels) in rows.items()
        }
    )


def _read_cache(path: Path) -> Dataset | None:
    """The cached arrays, or None where there are none or where they are damaged (they are then made again)."""
    try:
        with path.open("rb") as file, np.load(file) as arrays:
            return Dataset(
                {
                    split: Faces(arrays[f"{split}_images"], arrays[f"{split}_labels"])
                    for split in Split
                    if f"{split}_images" in arrays
                }
            )
    except (OSError, ValueError, zipfile.BadZipFile):
        return None


def _write_cache(path: Path, dataset: Dataset) -> None:
    arrays: dict[str, NDArray[np.uint8] | NDArray[np.int64]] = {}
    for split, faces in dataset.splits.items():
        arrays[f"{split}_images"], arrays[f"{split}_labels"] = faces.images, faces.labels
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Written beside its place and moved there, so that a kill leaves no half file under the final name.
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".npz", delete=False) as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
        Path(file.name).replace(path)
    except OSError as error:
        raise StorageError(
            f"{path.parent} cannot be written ({error.strerror}); set XDG_CACHE_HOME to a folder with 100 MB free"
        ) from error
