"""`vire-edge results`: every finished run under one protocol, on one page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vire_edge.errors import StorageError


def results(
    *,
    add: Annotated[
        list[Path] | None, typer.Option(help="The directory of a finished run to take in; may be repeated.")
    ] = None,
    folder: Annotated[Path, typer.Option(help="Where the results are kept, one JSON file for each.")] = Path(
        "models/results"
    ),
    out: Annotated[Path, typer.Option(help="The page to write, Markdown.")] = Path("models/RESULTS.md"),
) -> None:
    """Take in finished runs, and write the page of all results beside the published figures.

    The page is made of the JSON files alone; without --add it is only written anew.
    """
    from vire_edge.training.results import read_results, summarize, write_result
    from vire_edge.training.results_page import results_page

    for result in [summarize(run) for run in add or []]:
        print(f"{write_result(result, folder)}: written")
    found = read_results(folder)
    try:
        out.write_text(results_page(found), encoding="utf-8")
    except OSError as error:
        raise StorageError(f"{out} cannot be written ({error.strerror}); name another with --out") from error
    print(f"{out}: {len(found)} results")
