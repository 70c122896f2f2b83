"""A page before it is HTML, Markdown or a terminal's output: a few kinds of blocks, text only."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Heading:
    """A section begins."""

    text: str
    level: int = 2
    """1 for the page's title, 2 for a section, 3 inside one."""


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Running text."""

    text: str


@dataclass(frozen=True, slots=True)
class Code:
    """Lines to copy, such as a command."""

    text: str


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells; the first column names the row, the others are figures."""

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: tuple[int, ...] = ()
    """Columns that hold words and not figures, besides the first."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A plot."""

    name: str
    """For its file, without a suffix."""
    svg: str
    alt: str
    """Says what the plot shows to whoever does not see it."""
    caption: str


def slug(text: str) -> str:
    """A name for a file out of any text, such as what a model file calls its architecture: it names no other folder."""
    return re.sub(r"[^\w.-]+", "-", text)


Block = Heading | Paragraph | Code | Table | Picture
Document = tuple[Block, ...]
