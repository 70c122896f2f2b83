"""The bytes of a picture file → a 48×48 gray face, by the functions that the edge uses. What is cut off is refused.

OpenCV gives what it could read of a damaged picture, in some versions and formats, so
whether a file is whole is looked at before. A JPEG has no checksum: bytes changed inside its picture stay unnoticed.
"""

from __future__ import annotations

import re
import zlib

import cv2
import numpy as np
from numpy.typing import NDArray

from vire_edge.errors import DatasetError
from vire_edge.preprocess import FACE_SIZE, crop_face, to_gray

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp")
SMALLEST_SIDE = 24
"""Pixels; what is half the size of a training image holds no expression."""
LONGEST_SHAPE = 1.5
"""Longer side to shorter side; the picture is squeezed into a square, and beyond this it is no cut-out face."""
MOST_PIXELS = 120_000_000
"""What the largest telephone cameras take; more would fill the memory."""

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8"
_BMP = b"BM"
_JPEG_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
"""In compressed data, FF 00 is a value and FF D0 to FF D7 go on with the same scan."""
_JPEG_SIZES = {0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}


def read_face(content: bytes, where: str, *, any_size: bool) -> NDArray[np.uint8]:
    """Read a picture that holds a face and nothing else.

    Args:
        content: a JPEG, PNG or BMP file; recognised by its first bytes.
        where: names the file in errors.
        any_size: take larger and smaller pictures and bring them to size; else they have to be 48×48.

    Returns:
        uint8 `[48, 48]`.

    Raises:
        DatasetError: the file is no picture, is cut off or damaged, or has another size.
    """
    width, height = _size(content, where)
    if width * height > MOST_PIXELS:
        raise DatasetError(f"{where} has {width}×{height} pixels, too many to read; make it smaller")
    if not any_size and (width, height) != (FACE_SIZE, FACE_SIZE):
        raise DatasetError(
            f"{where} has {width}×{height} pixels, FER2013's pictures have {FACE_SIZE}×{FACE_SIZE}; "
            "replace it, or give faces of other sizes with --faces"
        )
    if min(width, height) < SMALLEST_SIDE:
        raise DatasetError(f"{where} has {width}×{height} pixels, a face needs {SMALLEST_SIDE}; remove it")
    if max(width, height) > LONGEST_SHAPE * min(width, height):
        raise DatasetError(f"{where} has {width}×{height} pixels; cut out the face as a square")
    try:
        picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise DatasetError(f"{where} cannot be read as a picture ({error.err}); remove or replace it") from error
    if picture is None:
        raise DatasetError(f"{where} cannot be read as a picture; remove or replace it")
    return crop_face(to_gray(np.asarray(picture, np.uint8)))


def _size(content: bytes, where: str) -> tuple[int, int]:
    """Width and height of a picture that is whole."""
    if not content:
        raise DatasetError(f"{where} is empty; remove or replace it")
    if content.startswith(_PNG):
        size = _png_size(content)
    elif content.startswith(_JPEG):
        size = _jpeg_size(content)
    elif content.startswith(_BMP):
        size = _bmp_size(content)
    else:
        raise DatasetError(f"{where} is no JPEG, PNG or BMP picture; convert it to JPEG or PNG, or remove it")
    if size is None:
        raise DatasetError(f"{where} is cut off or damaged; remove or replace it")
    return size


def _png_size(content: bytes) -> tuple[int, int] | None:
    """From the first chunk, if all chunks up to the last have the right checksum."""
    at, size = len(_PNG), None
    while at + 12 <= len(content):
        end = at + 8 + int.from_bytes(content[at : at + 4])
        kind = content[at + 4 : at + 8]
        if zlib.crc32(content[at + 4 : end]) != int.from_bytes(content[end : end + 4]):
            return None
        if kind == b"IHDR":
            size = int.from_bytes(content[at + 8 : at + 12]), int.from_bytes(content[at + 12 : at + 16])
        if kind == b"IEND":
            return size
        at = end + 4
    return None


def _jpeg_size(content: bytes) -> tuple[int, int] | None:
    """From the frame's header, if the marker at the end is there; what cameras append after it does not matter."""
    at, size = len(_JPEG), None
    while at + 2 <= len(content) and content[at] == 0xFF:
        kind = content[at + 1]
        if kind == 0xD9:
            return size
        if kind == 0xFF:  # fills up
            at += 1
            continue
        if kind in _JPEG_SIZES:
            size = int.from_bytes(content[at + 7 : at + 9]), int.from_bytes(content[at + 5 : at + 7])
        at += 2 + int.from_bytes(content[at + 2 : at + 4])
        if kind == 0xDA:  # compressed data follow, without a length
            marker = _JPEG_MARKER.search(content, at)
            if marker is None:
                return None
            at = marker.start()
    return None


def _bmp_size(content: bytes) -> tuple[int, int] | None:
    """From the header, if the file is as long as the header says."""
    if len(content) < 26 or len(content) < int.from_bytes(content[2:6], "little"):
        return None
    width, height = (int.from_bytes(content[at : at + 4], "little", signed=True) for at in (18, 22))
    return width, abs(height)  # a negative height only says that the rows begin at the top
