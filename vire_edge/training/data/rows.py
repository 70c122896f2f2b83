"""One labelled face as a source gives it: what a CSV file and a folder of pictures have in common."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Split(enum.StrEnum):
    """What an image is for, with FER2013's own names."""

    TRAINING = "Training"
    PUBLIC_TEST = "PublicTest"
    PRIVATE_TEST = "PrivateTest"


@dataclass(frozen=True, slots=True)
class Row:
    """One face."""

    label: int
    """0..6, in the order of `EMOTIONS`."""
    pixels: bytes
    """48·48 gray values, row by row from the top left."""
    split: Split
