"""Results of runs → `RESULTS.md`: every network under one protocol beside the published figure. Pure: values to text.

The page comes from the results alone, so it can be made again anywhere, without data, models or a framework.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vire_edge.domain import EMOTIONS
from vire_edge.training.data.rows import Split
from vire_edge.training.evaluation.intervals import Interval
from vire_edge.training.evaluation.measured import split_name
from vire_edge.training.finish import SPLITS
from vire_edge.training.report.document import Table
from vire_edge.training.report.markdown import markdown_table
from vire_edge.training.report.published import SOURCE, published_for
from vire_edge.training.report.results import Result
from vire_edge.training.report.tables import UNKNOWN, count, percent, share

RARE = EMOTIONS.index("disgust")
WHOLE, FRESH = SPLITS
ACCURACY = ("network", "preset", "epochs", "PublicTest", "without repeats", "published, val.", "lead, points")
QUALITY = ("network", "preset", "macro-F1", "without repeats", "recall of disgust", "calibration error", "loss")
COST = ("network", "preset", "parameters", "multiply-adds", "ms a face")


def results_page(results: list[Result]) -> str:
    """`RESULTS.md`, made of the results and nothing else.

    Args:
        results: at least one, in the order of the page.
    """
    first = results[0]
    measured = split_name(Split.PUBLIC_TEST, first[WHOLE]["images"])
    machines = sorted({result["timed_on"] for result in results})
    digests = sorted({result["data"]["dataset_digest"] for result in results})
    commands = dict.fromkeys(result["command"] for result in results)
    # Results of before there were remarks have none.
    remarks = [f"- {', '.join(_key(result))}: {result['remark']}\n" for result in results if result.get("remark")]
    return f"""\
# Results

Every network under one protocol. Made of the files in `results/` by `vire-edge results` and not by hand; a finished
run is added with `vire-edge results --add RUN`.

FER2013's {measured}, {first[WHOLE]["images"]:,} images, one view, no averaging over views. {measured} chose neither
epoch nor temperature. {first[FRESH]["images"]:,} of its images repeat no training image. In brackets: the 95 %
bootstrap interval over the images; what another seed of the training would change is not in it.

## Accuracy

{_table((*ACCURACY[:3], measured, *ACCURACY[4:]), results, _accuracy)}

Published: {SOURCE}.
Ours is {measured} alone. A paper preset stands beside its own scenario, any other preset beside the network's best.

## Beyond accuracy

{_table(QUALITY, results, _quality)}

## Cost

{_table(COST, results, _cost)}

Milliseconds: median for one face through ONNX Runtime, {"; ".join(machines)}.

## Commands

{chr(10).join(f"    {command}" for command in commands)}

{f"{''.join(remarks)}{chr(10)}" if remarks else ""}\
SHA-256 of the data, all splits: {", ".join(f"`{digest}`" for digest in digests)}.
Recipes, histories and versions stand in the JSON files.
"""


def _table(head: tuple[str, ...], results: list[Result], cells: Callable[[Result], tuple[str, ...]]) -> str:
    return markdown_table(Table("", head, tuple((*_key(result), *cells(result)) for result in results), words=(1,)))


def _key(result: Result) -> tuple[str, str]:
    seed = "" if result["seed"] == 1 else f", seed {result['seed']}"
    label = f", {result['label']}" if result["label"] else ""
    return result["architecture"], result["preset"] + seed + label


def _accuracy(result: Result) -> tuple[str, ...]:
    ours = tuple(
        percent(result[split]["accuracy"], Interval(**result[split]["intervals"]["accuracy"])) for split in SPLITS
    )
    line = published_for(result["architecture"], result["preset"])
    if line is None:
        return (str(result["epochs"]), *ours, UNKNOWN, UNKNOWN)
    theirs = f"{percent(line.validation_accuracy)} ({line.scenario}, {line.epochs} epochs)"
    lead = f"{100 * (result[WHOLE]['accuracy'] - line.validation_accuracy):+.1f}"
    return (str(result["epochs"]), *ours, theirs, lead)


def _quality(result: Result) -> tuple[str, ...]:
    figures = result[WHOLE]
    return (
        _macro_f1(figures),
        _macro_f1(result[FRESH]),
        share(figures["recall"][RARE], of=figures["support"][RARE], digits=2),
        f"{figures['calibration_error']:.3f}",
        f"{figures['loss']:.3f}",
    )


def _cost(result: Result) -> tuple[str, ...]:
    return count(result["parameters"]), count(result["multiply_adds"]), f"{result['milliseconds']:.2f}"


def _macro_f1(figures: dict[str, Any]) -> str:
    around = Interval(**figures["intervals"]["macro_f1"])
    return f"{figures['macro_f1']:.3f} ({around.low:.3f}–{around.high:.3f})"
