"""Document → Markdown, its pictures as files in a folder beside it."""

from __future__ import annotations

import re
from urllib.parse import quote

from vire_edge.training.report.document import Block, Code, Document, Heading, Paragraph, Picture, Table


def as_markdown(document: Document, pictures: str) -> str:
    """Write a page.

    Args:
        document: its blocks.
        pictures: the folder that its pictures are in, as the page names it.
    """
    return "\n\n".join(_block(block, pictures) for block in document) + "\n"


def markdown_table(table: Table) -> str:
    """A table without its caption."""
    head, *rows = ("| " + " | ".join(map(_cell, row)) + " |" for row in (table.head, *table.rows))
    rule = " | ".join("---" if column in (0, *table.words) else "--:" for column in range(len(table.head)))
    return "\n".join([head, f"| {rule} |", *rows])


def _block(block: Block, pictures: str) -> str:
    match block:
        case Heading(text, level):
            return f"{'#' * level} {_escaped(text)}"
        case Paragraph(text):
            return _escaped(text)
        case Code(text):
            return "\n".join(f"    {line}" for line in text.splitlines())
        case Table():
            return f"**{_escaped(block.caption)}**\n\n{markdown_table(block)}"
        case Picture(name, _, alt, caption):
            return f"![{_escaped(alt)}]({quote(pictures)}/{quote(name)}.svg)\n\n*{_escaped(caption)}*"


def _cell(text: str) -> str:
    return _escaped(text).replace("|", "\\|")


def _escaped(text: str) -> str:
    """Text on one line that stays text, whatever a file or a model is called."""
    return re.sub(r"([\\`*<&\[\]])", r"\\\1", " ".join(text.split()))
