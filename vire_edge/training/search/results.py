"""What searches found: trials → best values beside the published ones, as JSON, CSV and Markdown, and a plot."""

from __future__ import annotations

import csv
import io
import json
import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vire_edge.errors import StorageError
from vire_edge.training.report import plots
from vire_edge.training.report.document import slug
from vire_edge.training.report.published import published_for
from vire_edge.training.search.space import Values
from vire_edge.training.search.study import StudySettings, TrialRecord, best_of

COLUMNS = (
    "architecture",
    "scenario",
    "values",
    "held-out loss",
    "learning rate",
    "batch",
    "epochs",
    "initializer",
    "complete",
    "pruned",
)


@dataclass(frozen=True, slots=True)
class Found:
    """The outcome of one study."""

    study: str
    settings: StudySettings
    trials: tuple[TrialRecord, ...]

    @property
    def published(self) -> tuple[float, Values] | None:
        """Loss and values of the publication, or None for an architecture that it does not have."""
        preset = self.settings.scenario.preset
        line = published_for(self.settings.architecture, preset)
        values = Values.published(self.settings.architecture, self.settings.scenario)
        return None if line is None or values is None else (line.validation_loss, values)

    @property
    def best(self) -> TrialRecord | None:
        """The complete trial with the lowest loss, or None."""
        return best_of(self.trials)

    def command(self, data: str) -> str | None:
        """What learns with the best values, and without copies of PublicTest as the trials did.

        None without a complete trial, or where no preset has the network.
        """
        best, settings = self.best, self.settings
        if best is None or self.published is None:
            return None
        return (
            f"vire-edge train --data {shlex.quote(data)} --arch {settings.architecture} "
            f"--preset {settings.scenario.preset} --drop-leaks --seed {settings.seed} {Values(**best.params).options}"
        )

    def rows(self) -> list[list[str]]:
        """Rows under `COLUMNS`: what was found, and what was published."""
        settings, best = self.settings, self.best
        names = [settings.architecture, str(settings.scenario)]
        counts = [str(sum(trial.state == state for trial in self.trials)) for state in ("complete", "pruned")]
        found = ["–"] * 5 if best is None else [f"{best.value:.4f}", *_cells(Values(**best.params))]
        rows = [[*names, "found" if settings.cut_short is None else "found, cut short", *found, *counts]]
        if self.published is not None:
            loss, values = self.published
            rows.append([*names, "published", f"{loss:.4f}", *_cells(values), "10", "0"])
        return rows


NOTE = (
    "Found: the loss after the last epoch on a held-out tenth of Training, without copies. "
    "Published: chosen and measured on the publication's 7,178 evaluation images, which chose nothing here."
)


def notes(found: Sequence[Found]) -> list[str]:
    """What is to be known beside the rows, a sentence or two each."""
    short = [(study.study, study.settings.cut_short) for study in found if study.settings.cut_short is not None]
    return [
        NOTE,
        *(f"{name} was cut short ({how}): its losses say nothing beside the published." for name, how in short),
    ]


def write_results(found: list[Found], folder: Path, *, data: str) -> list[Path]:
    """Write `best.json`, `best.csv`, `best.md`, `trials.csv`, and a plot of each study.

    Args:
        found: the studies.
        folder: theirs; it exists.
        data: the data's name, for the commands.

    Returns:
        The files.

    Raises:
        StorageError: the folder cannot be written.
    """
    rows = [row for study in found for row in study.rows()]
    texts = {
        "best.json": json.dumps({study.study: _as_dict(study, data) for study in found}, indent=2) + "\n",
        "best.csv": _csv([list(COLUMNS), *rows]),
        "best.md": "\n\n".join([_markdown([list(COLUMNS), *rows]), *notes(found)]) + "\n",
        "trials.csv": _csv([_TRIAL_COLUMNS, *[row for study in found for row in _trial_rows(study)]]),
    }
    paths = []
    try:
        for name, text in texts.items():
            folder.joinpath(name).write_text(text, encoding="utf-8")
            paths.append(folder / name)
        for study in found:
            paths.append(folder / f"losses-{slug(study.study)}.png")
            paths[-1].write_bytes(plots.png(plots.trial_losses(plotted(study.trials))))
    except OSError as error:
        raise StorageError(f"{folder} cannot be written ({error.strerror}); name another with --run") from error
    return paths


def plotted(trials: Sequence[TrialRecord]) -> list[plots.Trial]:
    """The trials as `plots.trial_losses` and reports draw them."""
    return [
        plots.Trial(trial.number, trial.state, math.nan if trial.value is None else trial.value, trial.params)
        for trial in trials
    ]


_TRIAL_COLUMNS = ["study", "trial", "state", "held-out loss", *Values.__slots__, "epochs learnt", "seconds", "begun as"]


def _trial_rows(study: Found) -> list[list[Any]]:
    return [
        [
            study.study,
            trial.number,
            trial.state,
            "" if trial.value is None else trial.value,
            *(trial.params.get(name, "") for name in Values.__slots__),
            len(trial.losses),
            "" if trial.seconds is None else round(trial.seconds, 1),
            "" if trial.begun_as is None else trial.begun_as,
        ]
        for trial in study.trials
    ]


def _as_dict(study: Found, data: str) -> Mapping[str, Any]:
    best, settings = study.best, study.settings
    return {
        "settings": asdict(settings),
        "best": None if best is None else {"trial": best.number, "loss": best.value, **best.params},
        "published": None if study.published is None else {"loss": study.published[0], **asdict(study.published[1])},
        "command": study.command(data),
        "trials": [asdict(trial) for trial in study.trials],
    }


def _cells(values: Values) -> list[str]:
    return [f"{values.learning_rate:.6g}", str(values.batch_size), str(values.epochs), values.initializer]


def _csv(rows: list[list[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _markdown(rows: list[list[str]]) -> str:
    head, *body = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([head, "| --- " * len(rows[0]) + "|", *body])
