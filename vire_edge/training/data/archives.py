"""A folder or a zip archive → the names of its files, and their bytes. Nothing is unpacked to disk.

Reading is bounded, so that no archive fills the memory. What systems leave behind (hidden
files, `__MACOSX`, `Thumbs.db`) is passed over.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import lzma
import os
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol, cast

from vire_edge.errors import DatasetError

ZIP_MAGIC = b"PK"
LEFT_BEHIND = {"__macosx", "thumbs.db", "desktop.ini"}
MOST_FILES = 200_000
"""FER2013 has 35,887 pictures."""
LARGEST_FILE = 1 << 30
"""Bytes when unpacked; the challenge's CSV has 301 MB."""
LARGEST_PICTURE = 64 << 20
"""Bytes; a photograph of 100 megapixels has about 40 MB."""
LARGEST_ARCHIVE = 8 << 30
"""Bytes of all files when unpacked."""


class Tree(Protocol):
    """Files under one root."""

    @property
    def path(self) -> Path:
        """Where the root is."""

    @property
    def names(self) -> list[str]:
        """Files, and folders that hold none (with a "/" at the end), as paths from the root with "/", sorted."""

    def where(self, name: str) -> str:
        """How an error names a file."""

    def open(self, name: str) -> contextlib.AbstractContextManager[io.BufferedReader]:
        """Open a file; what goes wrong then or while reading is told as a `DatasetError`."""


@contextlib.contextmanager
def open_tree(path: Path) -> Iterator[Tree]:
    """Open a folder or a zip archive.

    Raises:
        DatasetError: a folder in it cannot be read, or the archive is damaged or cannot be trusted.
    """
    if path.is_dir():
        yield Folder(path)
        return
    try:
        opened = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise DatasetError(f"{path} is damaged or cut off ({error}); download it again") from error
    with opened:
        yield Archive(path, opened)


def read(tree: Tree, name: str, limit: int = LARGEST_PICTURE) -> bytes:
    """The whole file.

    Raises:
        DatasetError: it cannot be read, is damaged, or has more bytes than `limit`.
    """
    with tree.open(name) as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise DatasetError(f"{tree.where(name)} has more than {limit >> 20} MB; remove it")
    return content


def digest(tree: Tree) -> str:
    """SHA-256 in hex over the sorted names and each file's content."""
    whole = hashlib.sha256()
    for name in tree.names:
        whole.update(name.encode(errors="surrogateescape") + b"\0")
        if not name.endswith("/"):
            with tree.open(name) as file:
                whole.update(hashlib.file_digest(file, "sha256").digest())
    return whole.hexdigest()


def is_zip(path: Path) -> bool:
    """Whether the file begins as a zip archive does, whatever its name."""
    with path.open("rb") as file:
        return file.read(2) == ZIP_MAGIC


class Folder:
    """A folder on disk; links are followed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        files: set[str] = set()
        folders: set[str] = set()
        for folder, below, names in os.walk(path, followlinks=True, onerror=_refuse):
            below[:] = [name for name in below if not _is_left_behind(name)]
            for name in below:
                linked = Path(folder, name)
                if linked.is_symlink() and Path(folder).resolve().is_relative_to(linked.resolve()):
                    raise DatasetError(f"{linked} leads in a circle; remove this link")
            inside = Path(folder).relative_to(path)
            folders |= {(inside / name).as_posix() for name in below}
            for name in names:
                # Passed over as if it were a file, a link to a folder that is away would take a whole class with it.
                if Path(folder, name).is_symlink() and not Path(folder, name).exists():
                    raise DatasetError(f"{Path(folder, name)} is a link to nothing; mend or remove it")
                if not _is_left_behind(name):
                    files.add((inside / name).as_posix())
            _check_count(path, len(files) + len(folders))
        self.names = _sorted_names(files, folders)

    def where(self, name: str) -> str:
        """The file's path."""
        return f"{self.path}/{printable(name)}"

    @contextlib.contextmanager
    def open(self, name: str) -> Iterator[io.BufferedReader]:
        """Open a file of the folder."""
        file, where = self.path / name, self.where(name)
        # A pipe would wait for its writer for ever.
        if file.exists() and not file.is_file():
            raise DatasetError(f"{where} is no regular file; remove it")
        try:
            with file.open("rb") as opened:
                yield opened
        except OSError as error:
            raise DatasetError(f"{where} cannot be read ({error.strerror or error}); mend or remove it") from error


class Archive:
    """A zip archive."""

    def __init__(self, path: Path, opened: zipfile.ZipFile) -> None:
        self.path = path
        self._zip = opened
        self._members: dict[str, zipfile.ZipInfo] = {}
        folders: set[str] = set()
        _check_count(path, len(opened.infolist()))
        for member in opened.infolist():
            name = member.filename.replace("\\", "/")
            parts = name.rstrip("/").split("/")
            if name.startswith("/") or ".." in parts or ":" in parts[0]:
                raise DatasetError(f'{path}: "{printable(name)}" leads out of the archive; do not trust this file')
            if any(map(_is_left_behind, parts)):
                continue
            folders |= {"/".join(parts[:depth]) for depth in range(1, len(parts))}
            if name.endswith("/"):
                folders.add("/".join(parts))
            elif name in self._members:
                raise DatasetError(f"{self.where(name)} stands in the archive twice; pack it again")
            else:
                self._members[name] = member
        self._check_sizes()
        self.names = _sorted_names(set(self._members), folders)

    def where(self, name: str) -> str:
        """The archive's path and the file's inside it."""
        return f"{self.path}: {printable(name)}"

    @contextlib.contextmanager
    def open(self, name: str) -> Iterator[io.BufferedReader]:
        """Open a file of the archive."""
        member = self._members[name]
        if member.flag_bits & 1:
            raise DatasetError(f"{self.where(name)} is encrypted; unpack the archive and give the folder")
        try:
            with self._zip.open(member) as raw, io.BufferedReader(cast("Any", raw)) as file:
                yield file
        except NotImplementedError as error:
            raise DatasetError(f"{self.where(name)} cannot be unpacked ({error}); pack it again as a zip") from error
        except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError) as error:
            raise DatasetError(f"{self.where(name)} is damaged ({error}); download the archive again") from error

    def _check_sizes(self) -> None:
        # No more than the size that stands in the archive is ever unpacked, so that one is enough to look at.
        for name, member in self._members.items():
            if member.file_size > LARGEST_FILE:
                raise DatasetError(
                    f"{self.where(name)} would unpack to {member.file_size >> 20} MB, "
                    f"more than {LARGEST_FILE >> 20}; do not trust this file"
                )
        total = sum(member.file_size for member in self._members.values())
        if total > LARGEST_ARCHIVE:
            raise DatasetError(
                f"{self.path} would unpack to {total >> 20} MB, more than {LARGEST_ARCHIVE >> 20}; "
                "do not trust this file"
            )


def printable(text: str, longest: int = 200) -> str:
    """The text on one line, with what no terminal shows written out, and not longer than that."""
    shown = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text[: longest + 1])
    return shown if len(text) <= longest else shown[:longest] + "…"


def _is_left_behind(name: str) -> bool:
    return name.startswith(".") or name.casefold() in LEFT_BEHIND


def _sorted_names(files: set[str], folders: set[str]) -> list[str]:
    filled = {
        "/".join(parts[:depth]) for parts in (name.split("/") for name in files) for depth in range(1, len(parts))
    }
    # By parts, so that a folder's files stand together however its name compares with "/".
    return sorted(files | {f"{name}/" for name in folders - filled}, key=lambda name: name.split("/"))


def _check_count(path: Path, count: int) -> None:
    if count > MOST_FILES:
        raise DatasetError(f"{path} holds more than {MOST_FILES:,} files; give a folder that holds faces only")


def _refuse(error: OSError) -> None:
    raise DatasetError(f"{error.filename} cannot be read ({error.strerror}); permit it, or remove it") from error
