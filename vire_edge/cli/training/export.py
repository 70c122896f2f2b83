"""`vire-edge export`: a run's network as the file that the edge runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vire_edge.errors import StorageError


def export(
    *,
    run: Annotated[Path, typer.Option(help="The directory of a finished training run.")],
    out: Annotated[Path, typer.Option(help="The model file to write.")] = Path("model.onnx"),
    card: Annotated[Path | None, typer.Option(help="Also write the model card, Markdown.")] = None,
) -> None:
    """Write a run's network as the ONNX file that the edge runs, and on request its card."""
    from vire_edge.training.card import model_card
    from vire_edge.training.finish import export_run

    export_run(run, out)
    print(f"{out}: {out.stat().st_size / 1e6:.1f} MB")
    if card is not None:
        try:
            card.write_text(model_card(run, out.name), encoding="utf-8")
        except OSError as error:
            raise StorageError(f"{card} cannot be written ({error.strerror})") from error
        print(f"{card}: written")
