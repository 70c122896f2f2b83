"""The challenge's CSV, plain or gzip-compressed → rows, each checked. A broken row is named, never skipped."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from vire_edge.domain import EMOTIONS
from vire_edge.errors import DatasetError
from vire_edge.preprocess import FACE_SIZE

COLUMNS = ("emotion", "pixels", "Usage")
PIXELS = FACE_SIZE * FACE_SIZE
GZIP_MAGIC = b"\x1f\x8b"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the file."""

    label: int
    """0..6."""
    pixels: bytes
    """48·48 gray values, row by row from the top left."""
    usage: str
    """One of the accepted names."""


def read_rows(path: Path, usages: tuple[str, ...]) -> Iterator[Row]:
    """Yield the rows of the file in their order.

    Args:
        path: `fer2013.csv` or `fer2013.csv.gz`; recognised by its first bytes, not by its name.
        usages: the names that the column Usage may hold.

    Raises:
        DatasetError: the file is no such CSV, is cut off, or a row is broken.
    """
    try:
        with path.open("rb") as file:
            is_gzip = file.read(2) == GZIP_MAGIC
            file.seek(0)
            binary = cast("BinaryIO", gzip.GzipFile(fileobj=file)) if is_gzip else file
            with io.TextIOWrapper(binary, encoding="utf-8-sig", newline="") as text:
                yield from _rows(path, text, usages)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DatasetError(f"{path} is damaged or cut off ({error}); download it again") from error
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path} is no text file ({error.reason}); give fer2013.csv or fer2013.csv.gz") from error
    except OSError as error:
        raise DatasetError(f"{path} cannot be read ({error.strerror or error})") from error


def _rows(path: Path, text: io.TextIOWrapper, usages: tuple[str, ...]) -> Iterator[Row]:
    reader = csv.reader(text)
    try:
        header = next(reader, [])
        # One variant in circulation has spaces before its column names.
        if tuple(name.strip() for name in header) != COLUMNS:
            found = ",".join(header)[:60]
            raise DatasetError(f'{path}, line 1: the header must be "{",".join(COLUMNS)}", got "{found}"')
        for fields in reader:
            if fields:
                yield _row(f"{path}, line {reader.line_num}", fields, usages)
    except csv.Error as error:
        raise DatasetError(f"{path}, line {reader.line_num}: no CSV ({error}); download it again") from error


def _row(where: str, fields: list[str], usages: tuple[str, ...]) -> Row:
    if len(fields) != len(COLUMNS):
        raise DatasetError(f"{where}: {len(COLUMNS)} columns expected, got {len(fields)}; correct or remove the line")
    emotion, pixels, usage = (field.strip() for field in fields)
    if emotion not in {str(label) for label in range(len(EMOTIONS))}:
        raise DatasetError(
            f'{where}: emotion must be 0 to {len(EMOTIONS) - 1}, got "{emotion}"; correct or remove the line'
        )
    if usage not in usages:
        raise DatasetError(
            f'{where}: Usage must be one of {", ".join(usages)}, got "{usage}"; correct or remove the line'
        )
    values = pixels.split()
    if len(values) != PIXELS:
        raise DatasetError(f"{where}: {PIXELS} pixels expected, got {len(values)}; correct or remove the line")
    try:
        return Row(int(emotion), bytes(map(int, values)), usage)
    except ValueError:
        bad = next(value for value in values if not (value.isascii() and value.isdigit() and int(value) <= 255))
        raise DatasetError(f'{where}: a pixel must be 0 to 255, got "{bad}"; correct or remove the line') from None
