"""`vire-edge results`: every finished run under one protocol, on one page."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer


def results(
    *,
    add: Annotated[
        list[Path] | None, typer.Option(help="The directory of a finished run to take in; may be repeated.")
    ] = None,
    label: Annotated[
        str, typer.Option(help="What is special about them, in a word, where others have their network, preset, seed.")
    ] = "",
    remark: Annotated[
        str, typer.Option(help="A sentence on their training that its record does not hold, for below the commands.")
    ] = "",
    folder: Annotated[Path, typer.Option(help="Where the results are kept, one JSON file for each.")] = Path(
        "models/results"
    ),
    out: Annotated[Path, typer.Option(help="The page to write, Markdown.")] = Path("models/RESULTS.md"),
) -> None:
    """Take in finished runs, and write the page of all results beside the published figures.

    The page is made of the JSON files alone; without --add it is only written anew.
    """
    from vire_edge.training.backend import check_packages
    from vire_edge.training.export import prepare_place
    from vire_edge.training.report.results import add_results, read_results, summarize
    from vire_edge.training.report.results_page import results_page
    from vire_edge.training.report.write import write_whole

    if not re.fullmatch(r"[\w.+-]*", label):
        raise typer.BadParameter(
            f'"{label}" must be one word of letters, digits, ".", "+" and "-"', param_hint="--label"
        )
    if remark and not add:
        raise typer.BadParameter("it needs --add beside it", param_hint="--remark")
    prepare_place(out)
    if add:
        check_packages("onnx")
        prepare_place(folder / "result.json")
        for path, done in add_results([summarize(run, label, remark) for run in add], folder).items():
            print(f"{path}: {done}")
    found = read_results(folder)
    write_whole(out, results_page(found))
    print(f"{out}: {len(found)} results")
