"""The challenge's CSV, plain or gzip-compressed → rows, each checked. A broken row is named, never skipped."""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Iterator
from typing import BinaryIO, cast

from vire_edge.domain import EMOTIONS
from vire_edge.errors import DatasetError
from vire_edge.preprocess import FACE_SIZE
from vire_edge.training.data.archives import LARGEST_FILE, printable
from vire_edge.training.data.rows import Row, Split

COLUMNS = ("emotion", "pixels", "Usage")
PIXELS = FACE_SIZE * FACE_SIZE
GZIP_MAGIC = b"\x1f\x8b"
LONGEST_LINE = 1 << 16
"""Characters; a row has at most 9,236."""

_LABELS = {str(label): label for label in range(len(EMOTIONS))}
_USAGES = {str(split): split for split in Split}
_VALUES = {str(value): value for value in range(256)}


def is_table(name: str) -> bool:
    """Whether a file's name says that it is such a CSV."""
    return name.casefold().endswith((".csv", ".csv.gz"))


def read_rows(file: io.BufferedReader, where: str) -> Iterator[Row]:
    """Yield the rows of the file in their order.

    Args:
        file: `fer2013.csv` or `fer2013.csv.gz`; recognised by its first bytes, not by its name.
        where: names the file in errors.

    Raises:
        DatasetError: the file is no such CSV, is cut off, or a row is broken.
    """
    with _opened(file, where) as text:
        yield from _rows(_lines(text, where), where)


def has_faces(file: io.BufferedReader, where: str) -> bool:
    """Whether the file's first line names the columns of such a CSV.

    Args:
        file: as for `read_rows`.
        where: names the file in errors.

    Raises:
        DatasetError: the file is damaged or no text.
    """
    with _opened(file, where) as text:
        header = next(_lines(text, where), "")
    return {name.strip(' "\r\n') for name in header.split(",")} >= set(COLUMNS)


@contextlib.contextmanager
def _opened(file: io.BufferedReader, where: str) -> Iterator[io.TextIOWrapper]:
    """The file's text, unpacked; what goes wrong while it is read is told as a `DatasetError`."""
    try:
        is_gzip = file.peek(2).startswith(GZIP_MAGIC)
        binary = cast("BinaryIO", gzip.GzipFile(fileobj=file)) if is_gzip else file
        with io.TextIOWrapper(binary, encoding="utf-8-sig", newline="") as text:
            yield text
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile, zipfile.BadZipFile) as error:
        raise DatasetError(f"{where} is damaged or cut off ({error}); download it again") from error
    except UnicodeDecodeError as error:
        raise DatasetError(f"{where} is no text file ({error.reason}); give fer2013.csv or fer2013.csv.gz") from error


def _lines(text: io.TextIOWrapper, where: str) -> Iterator[str]:
    """The lines, bounded, so that a small compressed file cannot fill the memory."""
    characters = 0
    for number, line in enumerate(iter(lambda: text.readline(LONGEST_LINE), ""), start=1):
        characters += len(line)
        if len(line) == LONGEST_LINE:
            raise DatasetError(f"{where}, line {number}: no CSV (longer than {LONGEST_LINE}); download it again")
        if characters > LARGEST_FILE:
            raise DatasetError(f"{where}, line {number}: more than {LARGEST_FILE >> 20} MB; this is not FER2013")
        yield line


def _rows(lines: Iterator[str], where: str) -> Iterator[Row]:
    rows = _fields(lines, where)
    # One variant in circulation has spaces before its column names, and another order.
    header = [name.strip() for name in next(rows, (1, []))[1]]
    if any("\0" in name for name in header):  # as in fer2013.tar.gz, the form of the original download
        raise DatasetError(f"{where} holds an archive or other binary data; unpack it and give fer2013.csv")
    missing = [name for name in COLUMNS if name not in header]
    if missing and set(header) & set(COLUMNS):
        found = printable(",".join(header), 60)
        raise DatasetError(
            f'{where}, line 1: the column {missing[0]} is missing, got "{found}"; '
            f"the columns are {', '.join(COLUMNS)}: give the whole file, so named"
        )
    if sorted(header) != sorted(COLUMNS):
        found = printable(",".join(header), 60)
        raise DatasetError(
            f'{where}, line 1: the header must be "{",".join(COLUMNS)}", got "{found}"; give fer2013.csv'
        )
    order = [header.index(name) for name in COLUMNS]
    for number, fields in rows:
        yield _row(f"{where}, line {number}", fields, order)


def _fields(lines: Iterator[str], where: str) -> Iterator[tuple[int, list[str]]]:
    """Number, from 1, and fields of each line. No field goes on in the next line, so a stray quote is told where it is.

    Raises:
        DatasetError: a line is no CSV, or empty before the end, where one may have been lost.
    """
    empty = 0
    for number, line in enumerate(lines, start=1):
        if not line.strip("\r\n"):
            empty = empty or number
            continue
        if empty:
            raise DatasetError(f"{where}, line {empty}: empty; remove it, or download the file again if a row is lost")
        try:
            yield number, next(csv.reader([line], strict=True), [])
        except csv.Error as error:
            raise DatasetError(f"{where}, line {number}: no CSV ({error}); download it again") from error


def _row(where: str, fields: list[str], order: list[int]) -> Row:
    if len(fields) != len(COLUMNS):
        raise DatasetError(f"{where}: {len(COLUMNS)} columns expected, got {len(fields)}; correct or remove the line")
    emotion, pixels, usage = (fields[column].strip() for column in order)
    if emotion not in _LABELS:
        raise DatasetError(
            f'{where}: emotion must be 0 to {len(EMOTIONS) - 1}, got "{printable(emotion, 20)}"; '
            "correct or remove the line"
        )
    if usage not in _USAGES:
        raise DatasetError(
            f'{where}: Usage must be one of {", ".join(_USAGES)}, got "{printable(usage, 20)}"; '
            "correct or remove the line"
        )
    values = pixels.split()
    if len(values) != PIXELS:
        raise DatasetError(f"{where}: {PIXELS} pixels expected, got {len(values)}; correct or remove the line")
    try:
        # Looked up, not converted: `int` would also take "1_0", "+7" and other scripts' digits.
        return Row(_LABELS[emotion], bytes(map(_VALUES.__getitem__, values)), _USAGES[usage])
    except KeyError as error:
        raise DatasetError(
            f'{where}: a pixel must be 0 to 255, got "{printable(str(error.args[0]), 20)}"; correct or remove the line'
        ) from None
