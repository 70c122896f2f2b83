"""Counts of labels and readings → a CSV that a spreadsheet opens."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from vire_edge.domain import EMOTIONS


def confusion_csv(counts: Sequence[Sequence[int]]) -> str:
    """A row for each label, a column for each reading, with their names; counts of images.

    Args:
        counts: `counts[label][read]`, 7×7.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["label", *EMOTIONS])
    writer.writerows([emotion, *row] for emotion, row in zip(EMOTIONS, counts, strict=True))
    return text.getvalue()
