"""Document → Markdown, its pictures as files in a folder beside it."""

from __future__ import annotations

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
            return f"{'#' * level} {text}"
        case Paragraph(text):
            return text
        case Code(text):
            return "\n".join(f"    {line}" for line in text.splitlines())
        case Table():
            return f"**{block.caption}**\n\n{markdown_table(block)}"
        case Picture(name, _, alt, caption):
            return f"![{alt}]({pictures}/{name}.svg)\n\n*{caption}*"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
