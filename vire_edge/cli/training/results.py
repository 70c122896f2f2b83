"""`vire-edge results`: every finished run under one protocol, on one page."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from vire_edge.errors import StorageError


def results(
    *,
    add: Annotated[
        list[Path] | None, typer.Option(help="The directory of a finished run to take in; may be repeated.")
    ] = None,
    label: Annotated[
        str, typer.Option(help="What is special about them, in a word, where others have their network, preset, seed.")
    ] = "",
    folder: Annotated[Path, typer.Option(help="Where the results are kept, one JSON file for each.")] = Path(
        "models/results"
    ),
    out: Annotated[Path, typer.Option(help="The page to write, Markdown.")] = Path("models/RESULTS.md"),
) -> None:
    """Take in finished runs, and write the page of all results beside the published figures.

    The page is made of the JSON files alone; without --add it is only written anew.
    """
    from vire_edge.training.report.results import file_name, read_results, summarize, write_result
    from vire_edge.training.report.results_page import results_page

    if not re.fullmatch(r"[\w.+-]*", label):
        raise typer.BadParameter(
            f'"{label}" must be one word of letters, digits, ".", "+" and "-"', param_hint="--label"
        )
    for result in [summarize(run, label) for run in add or []]:
        path = folder / file_name(result)
        done = "replaced" if path.exists() else "written"
        write_result(result, path)
        print(f"{path}: {done}")
    found = read_results(folder)
    try:
        out.write_text(results_page(found), encoding="utf-8")
    except OSError as error:
        raise StorageError(f"{out} cannot be written ({error.strerror}); name another with --out") from error
    print(f"{out}: {len(found)} results")
