"""A file or folder of labelled faces → `Dataset`: arrays, checked, cached, with a digest. No cleaning, no augmentation.

The digest is taken over the sorted rows, so the same images have the same digest however
they are stored and in whatever order they are listed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vire_edge.domain import EMOTIONS
from vire_edge.errors import DatasetError
from vire_edge.training.data import archives, face_folders, fer2013
from vire_edge.training.data.array_cache import Arrays, default_cache, read_arrays, write_arrays
from vire_edge.training.data.rows import Row, Split

CACHE_VERSION = "2"
"""Changes when the cached arrays mean something else, so that an older cache is not read."""


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
        return hashlib.sha256(b"".join(sorted(self._row_digests()))).hexdigest()

    def order_digest(self) -> str:
        """The same, but another one in another order: batches follow the order."""
        return hashlib.sha256(b"".join(self._row_digests())).hexdigest()

    def repeated(self, times: int) -> Faces:
        """The faces that many times over."""
        return self.take(np.tile(np.arange(len(self)), times))

    def followed_by(self, others: Faces) -> Faces:
        """These faces, then the others; where only one of the two has votes, the labels stand for the other's."""
        votes = None
        if self.votes is not None or others.votes is not None:
            certain = np.eye(len(EMOTIONS), dtype=np.float32)
            votes = np.concatenate(
                [certain[faces.labels] if faces.votes is None else faces.votes for faces in (self, others)]
            )
        return Faces(np.concatenate([self.images, others.images]), np.concatenate([self.labels, others.labels]), votes)

    def _row_digests(self) -> list[bytes]:
        votes = [b""] * len(self) if self.votes is None else [row.tobytes() for row in self.votes]
        return [
            hashlib.sha256(bytes([label]) + image.tobytes() + vote).digest()
            for image, label, vote in zip(self.images, self.labels.tolist(), votes, strict=True)
        ]


@dataclass(frozen=True, slots=True)
class Dataset:
    """All faces of one source, by split."""

    splits: dict[Split, Faces]
    in_file_order: bool = True
    """Whether the faces stand in the order of FER2013's file, as FER+ counts on it; else in that of their paths."""

    def __getitem__(self, split: Split) -> Faces:
        try:
            return self.splits[split]
        except KeyError:
            held = ", ".join(self.splits) or "nothing"
            raise DatasetError(
                f"the data holds no faces for {split}, only for {held}; give the whole file or folder"
            ) from None

    def digest(self) -> str:
        """SHA-256 in hex over all splits."""
        text = "\n".join(f"{split}:{self.splits[split].digest()}" for split in Split if split in self.splits)
        return hashlib.sha256(text.encode()).hexdigest()


def load(
    path: Path, *, own: bool = False, cache: Path | None = None, on_row: Callable[[int], None] = lambda _: None
) -> Dataset:
    """Read a dataset, from the cache if the same content was read before.

    Args:
        path: FER2013 as the challenge's CSV, plain or gzip-compressed; a folder with `train/<class>/` and
            `test/<class>/`; or a zip archive of either.
        own: `path` holds a user's own faces: pictures of any size, possibly without `train` around the classes.
        cache: folder for the arrays; `default_cache()` when omitted.
        on_row: called with the number of faces read so far, now and then.

    Raises:
        DatasetError: the data is missing, or a row or picture is broken; the message names it.
        StorageError: the cache cannot be written.
    """
    folder = default_cache() if cache is None else cache
    # A user's pictures are brought to size, which FER2013's must not need: one content, two readings.
    cached = folder / f"{_content_digest(path)}{'-own' if own else ''}-v{CACHE_VERSION}.npz"
    dataset = _from_arrays(read_arrays(cached))
    if dataset is None:
        with _rows(path, own=own) as (rows, in_file_order):
            dataset = _collect(rows, path, on_row, in_file_order=in_file_order)
        write_arrays(cached, _as_arrays(dataset))
    return dataset


def check_place(path: Path) -> None:
    """Make sure that there is something to read.

    Raises:
        DatasetError: there is not.
    """
    try:
        path.stat()
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> DatasetError:
    return DatasetError(
        f"{path} cannot be read ({error.strerror}); give the path of fer2013.csv, or of a folder or zip of faces"
    )


def _content_digest(path: Path) -> str:
    try:
        if path.is_dir():
            return archives.digest(archives.Folder(path))
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise _unreadable(path, error) from error


@contextmanager
def _rows(path: Path, *, own: bool) -> Iterator[tuple[Iterator[Row], bool]]:
    """The rows of whatever `path` is, and whether they are those of the challenge's file in its order."""
    if not path.is_dir() and not archives.is_zip(path):
        with path.open("rb") as file:
            yield fer2013.read_rows(file, str(path)), True
        return
    with archives.open_tree(path) as tree:
        tables = [name for name in tree.names if fer2013.is_table(name)]
        # FER+'s table usually lies beside the faces that it votes on.
        tables = [name for name in tables if _has_faces(tree, name)] or tables
        if not tables or any(map(face_folders.is_picture, tree.names)):
            yield face_folders.read_rows(tree, own=own), False
        elif len(tables) > 1:
            names = archives.printable(", ".join(tables))
            raise DatasetError(f"{path} holds {len(tables)} CSV files ({names}); give one of them by itself")
        else:
            with tree.open(tables[0]) as file:
                yield fer2013.read_rows(file, tree.where(tables[0])), True


def _has_faces(tree: archives.Tree, name: str) -> bool:
    with tree.open(name) as file:
        return fer2013.has_faces(file, tree.where(name))


def _collect(rows: Iterator[Row], path: Path, on_row: Callable[[int], None], *, in_file_order: bool) -> Dataset:
    faces: dict[Split, tuple[list[bytes], list[int]]] = {}
    for count, row in enumerate(rows, start=1):
        images, labels = faces.setdefault(row.split, ([], []))
        images.append(row.pixels)
        labels.append(row.label)
        if count % 1000 == 0:
            on_row(count)
    if not faces:
        raise DatasetError(f"{path} holds no rows after its header; is the download complete?")
    return Dataset(
        {
            split: Faces(np.frombuffer(b"".join(images), np.uint8).reshape(-1, 48, 48), np.array(labels, np.int64))
            for split, (images, labels) in faces.items()
        },
        in_file_order,
    )


def _as_arrays(dataset: Dataset) -> Arrays:
    arrays: Arrays = {"in_file_order": np.array(dataset.in_file_order)}
    for split, faces in dataset.splits.items():
        arrays[f"{split}_images"], arrays[f"{split}_labels"] = faces.images, faces.labels
    return arrays


def _from_arrays(arrays: Arrays | None) -> Dataset | None:
    if arrays is None:
        return None
    splits = {
        split: Faces(arrays[f"{split}_images"], arrays[f"{split}_labels"])
        for split in Split
        if f"{split}_images" in arrays
    }
    return Dataset(splits, bool(arrays["in_file_order"]))


__all__ = ["CACHE_VERSION", "Dataset", "Faces", "Split", "default_cache", "load"]
