"""A finished run → its model card in Markdown. What is a figure comes from the run; what is judgement stands here."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

from vire_edge.domain import EMOTIONS
from vire_edge.training.data.rows import Split
from vire_edge.training.data.targets import VotesAs
from vire_edge.training.evaluation.measured import OWN_FACES, split_name
from vire_edge.training.finish import evaluation_keys
from vire_edge.training.int8_export import Comparison
from vire_edge.training.recipes import Recipe
from vire_edge.training.report.document import Table
from vire_edge.training.report.markdown import markdown_table
from vire_edge.training.report.recipe import recipe_lines
from vire_edge.training.report.tables import share
from vire_edge.training.rundir import RunDirectory
from vire_edge.training.settings import TrainSettings, stored_settings

LIMITS = """\
## Limits

- It reads what a face *shows* in one picture, as one annotator of web images labelled it. People agree with those
  labels about two times in three (65 ± 5 %, Goodfellow et al. 2013), and a network trained on them inherits that doubt.
- A shown expression is not a felt emotion. Culture, illness, pain, medication, stroke, Parkinson's disease, dementia
  and old age change faces; nobody has measured this model on the people it may watch.
- FER2013 was gathered by searching the web for words of emotion; many of its pictures are posed or acted. Age, skin
  colour and sex are not labelled, so how the errors differ between groups is not known. Expect that they do, and that
  old people, whom this is for, are among those it reads worse.
- Made for frontal faces of 48 pixels and more, as OpenCV's Haar cascade cuts them. How well it reads turned, covered,
  blurred or dark faces is not measured.
- The calibration holds for pictures like FER2013's. On a camera at home expect it to be too sure.

## Use

For: hints to a caregiver who knows the person, over time and never from one picture, with the consent of everyone who
is seen. Not for: diagnosis, any decision about a person, hiring, schooling, policing, or watching people who do not
know or cannot refuse. It is no medical device. In the European Union reading emotions at work and in education is
forbidden, and elsewhere it is regulated as high-risk (Regulation 2024/1689).
"""


def model_card(path: Path, name: str, *, int8: tuple[str, Comparison] | None = None, remark: str = "") -> str:
    """Write the card of a finished run.

    Args:
        path: the run directory.
        name: the model's file name.
        int8: the file name of its int8 variant, and how the two compare.
        remark: what the run's record does not say of its training, a sentence.

    Raises:
        TrainingError: the directory holds no finished run.
    """
    run = RunDirectory(path)
    settings = stored_settings(path)
    metrics, data, versions = (run.read_json(file) for file in (run.metrics, run.data, run.environment))
    records = run.read_history(settings.effective_recipe.epochs)
    seconds = statistics.median(record.seconds for record in records)
    whole, fresh = (metrics[key] for key in evaluation_keys(metrics))
    measured_on = split_name(data.get("evaluated_on", Split.PUBLIC_TEST), whole["images"])
    lines = "\n".join(f"- {line}" for line in recipe_lines(settings))
    sections = [
        f"""\
# Model card

`{name}` reads one of seven expressions in a 48×48 gray face: {", ".join(EMOTIONS)}.
It is the architecture `{settings.architecture}` of `vire_edge/training/architectures.py`, exported to ONNX:
`face` uint8 `[N, 48, 48, 1]` → `probabilities` float32 `[N, 7]`. Scaling and calibration are inside the graph; its
metadata repeats what stands here.
""",
        _figures(whole, fresh, settings.effective_recipe, measured_on=measured_on),
        _data(data, settings),
        f"""\
## Training

    {settings.command}

{lines}
- epoch {metrics["epoch"]} of {len(records)} kept, {seconds:.0f} s an epoch (median)
- temperature {metrics["temperature"]:.3f}
- {", ".join(f"{key} {value}" for key, value in versions.items())}
{f"- {remark}" if remark else ""}""".rstrip()
        + "\n",
        *([] if int8 is None else [_int8(*int8, measured_on)]),
        LIMITS,
    ]
    return "\n".join(sections)


def _int8(name: str, compared: Comparison, measured_on: str) -> str:
    sides = (compared.float32, compared.int8)
    rows = [[measured_on, "float32", "int8"]]
    rows += [
        [label, *(share(getattr(side.evaluation, key), of=1) for side in sides)] for key, label in _OVERALL.items()
    ]
    rows += [
        ["size, MB", *(f"{side.size / 1e6:.1f}" for side in sides)],
        ["ms a face on one thread, median", *(f"{side.median_ms:.2f}" for side in sides)],
        ["ms a face on one thread, least", *(f"{side.least_ms:.2f}" for side in sides)],
    ]
    return f"""\
## In 8-bit integers

`{name}` is the same network with 8-bit weights and activations, its ranges and its temperature fitted on the held-out
part of Training. Both read {compared.agreement:.1%} of the images alike; times were taken in turns, on x86-64.

{_table(rows)}
"""


def _figures(whole: dict[str, Any], fresh: dict[str, Any], recipe: Recipe, *, measured_on: str) -> str:
    pair = (whole, fresh)
    overall = [["", measured_on, "without repeats"], ["images", *(some["images"] for some in pair)]]
    overall += [[label, *(share(some[key], of=some["images"]) for some in pair)] for key, label in _OVERALL.items()]
    read = [sum(column) for column in zip(*whole["confusion"], strict=True)]
    by_class = [[f"{measured_on}, by class", "images", "precision", "recall", "F1", "recall without repeats"]]
    by_class += [
        [
            emotion,
            whole["support"][i],
            share(whole["precision"][i], of=read[i]),
            share(whole["recall"][i], of=whole["support"][i]),
            share(whole["f1"][i], of=whole["support"][i]),
            share(fresh["recall"][i], of=fresh["support"][i]),
        ]
        for i, emotion in enumerate(EMOTIONS)
    ]
    confusion = [["label ↓ read →", *EMOTIONS]]
    confusion += [[emotion, *row] for emotion, row in zip(EMOTIONS, whole["confusion"], strict=True)]
    what = "The user's own faces, those not learnt from" if measured_on == OWN_FACES else f"FER2013's {measured_on}"
    return f"""\
## How good

{what}, one view, no averaging over views. They chose neither epoch nor temperature:
{_chosen_by(recipe)}
Some may be copies of training images; the last column leaves them out.

{_table(overall)}

{_table(by_class)}

{_missed(whole)}{_table(confusion)}
"""


def _chosen_by(recipe: Recipe) -> str:
    if recipe.keeps_best:
        return "both come from a held-out part of the training images."
    return "the last epoch was kept, and the temperature comes from a held-out part of the training images."


def _missed(whole: dict[str, Any]) -> str:
    """The two classes that are missed most often, of those that occur and are missed at all."""
    rows = zip(whole["recall"], EMOTIONS, whole["support"], strict=True)
    worst = sorted((recall, emotion) for recall, emotion, images in rows if images and recall < 1)[:2]
    told = " and ".join(f"{emotion} ({1 - recall:.0%})" for recall, emotion in worst)
    return f"Missed most often: {told}.\n\n" if worst else ""


def _data(data: dict[str, Any], settings: TrainSettings) -> str:
    found, own = data["findings"], data.get("own")
    source = "The user's own faces" if settings.data is None else "FER2013"
    verdict = "all of these were learnt from"
    if settings.effective_recipe.clean:
        verdict = "repeats were learnt from once, the others not at all"
    elif settings.drop_leaks:
        verdict = "those that also stand in the evaluation were left out, the others learnt from"
    notes = []
    if settings.fer_plus is not None:
        notes.append(
            f"{_VOTES[settings.fer_plus_as]} Left out: {data['faceless']} images that show no face by the votes"
        )
        notes[-1] += f" and {data['undecided']} undecided ones." if data.get("undecided") else "."
    if own is not None and settings.data is not None:
        drawn = "their test folder" if own["has_test"] else "drawn by their pixels"
        notes.append(
            f"Beside it {own['learnt']} of a user's own faces, {own['repeats']} times in an epoch; {own['set_aside']} "
            f"more ({drawn}) were never learnt from. Digest `{own['digest']}`."
        )
    files = [
        (f"the teacher `{path.name}`", digest)
        for path, digest in zip(settings.teachers, data.get("teachers", ()), strict=False)
    ]
    if settings.start_from is not None and data.get("start_from"):
        files.append((f"`{settings.start_from.name}`, whose weights it began with,", data["start_from"]))
    return f"""\
## Data

{source}, {found["images"]} training images; {data["learnt"]} learnt from, {data["held_out"]} held out.
Found among them: {found["repeats"]} exact repeats, {found["blank"]} blank ones, {found["leaks"]} that also stand in
the evaluation, {found["conflicting"]} in {found["conflicting_groups"]} groups of identical images with conflicting
labels; {verdict}.
{"".join(f"{chr(10)}{note}{chr(10)}" for note in notes)}
- dataset digest `{data["dataset_digest"]}`
- digest of the images learnt from `{data["split_digest"]}`
{"".join(f"- SHA-256 of {name} `{digest}`{chr(10)}" for name, digest in files)}"""


def _table(rows: list[list[Any]]) -> str:
    head, *body = [tuple(map(str, row)) for row in rows]
    return markdown_table(Table("", head, tuple(body)))


_VOTES = {
    VotesAs.MIXED: "The votes of FER+ go into what is learnt.",
    VotesAs.SOFT: "The votes of FER+ replace the labels that are learnt.",
    VotesAs.MAJORITY: "The class that most of FER+'s ten people named replaces the label that is learnt.",
}
_OVERALL = {
    "accuracy": "accuracy",
    "macro_f1": "macro-F1",
    "loss": "loss (cross-entropy)",
    "calibration_error": "expected calibration error",
}
