"""Documents and confusion matrices → files, each whole or absent."""

from __future__ import annotations

import contextlib
from pathlib import Path

from vire_edge.errors import StorageError
from vire_edge.training.evaluation.comparison import Comparison
from vire_edge.training.evaluation.confusion import confusion_csv
from vire_edge.training.report import plots
from vire_edge.training.report.document import Document, Picture, slug
from vire_edge.training.report.html import as_html
from vire_edge.training.report.markdown import as_markdown
from vire_edge.training.report.tables import names

HTML, MARKDOWN = (".html", ".htm"), (".md", ".markdown")


def write_report(document: Document, path: Path) -> None:
    """Write a report; of Markdown, its pictures go into a folder beside it.

    Args:
        document: the report.
        path: its ending, one of `HTML` or `MARKDOWN`, says what it shall be.

    Raises:
        StorageError: it cannot be written.
    """
    if path.suffix.lower() in HTML:
        write_whole(path, as_html(document))
        return
    folder = path.with_name(f"{path.stem}-plots")
    for block in document:
        if isinstance(block, Picture):
            write_whole(folder / f"{block.name}.svg", block.svg)
    write_whole(path, as_markdown(document, folder.name))


def write_confusion(comparison: Comparison, folder: Path) -> None:
    """Write each model's confusion matrix as CSV and as PNG.

    Raises:
        StorageError: the folder cannot be written.
        DependencyError: matplotlib is not installed.
    """
    for name, evaluation in zip(names(comparison), comparison.evaluations, strict=True):
        counts = evaluation.whole.metrics.confusion
        write_whole(folder / f"{slug(name)}.csv", confusion_csv(counts))
        write_whole(folder / f"{slug(name)}.png", plots.png(plots.confusion(counts)))


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file in one step, its folder made where there is none.

    Raises:
        StorageError: it cannot be written.
    """
    half = path.with_name(path.name + ".half")
    if path.exists() and not path.is_file() and not path.is_dir():
        raise StorageError(f"{path} cannot be written (it is no regular file); name another place")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        half.write_bytes(content.encode() if isinstance(content, str) else content)
        half.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            half.unlink(missing_ok=True)
        raise StorageError(f"{path} cannot be written ({error.strerror}); name another place") from error
