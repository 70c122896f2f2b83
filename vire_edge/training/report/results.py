"""A finished run → one small JSON file to keep, and back: what `results_page` is made of. Runs are only read.

A run directory is too large to be kept with the code; its figures, settings and history are not.
"""

from __future__ import annotations

import json
import platform
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vire_edge.errors import TrainingError
from vire_edge.training.architectures import ARCHITECTURES
from vire_edge.training.evaluation.graph import cost
from vire_edge.training.evaluation.intervals import intervals
from vire_edge.training.evaluation.reading import milliseconds_per_face
from vire_edge.training.finish import SPLITS
from vire_edge.training.recipes import PRESETS
from vire_edge.training.report.document import slug
from vire_edge.training.report.write import write_whole
from vire_edge.training.rundir import RunDirectory
from vire_edge.training.settings import stored_settings

VERSION = 1
"""Of the JSON files."""
DROPPED = ("confusion",)
"""Figures that are left out of a result: bulk, and in the run's own CSV."""
_FIGURES = (
    *("images", "accuracy", "macro_f1", "recall", "support", "calibration_error", "loss"),
    *(f"intervals.{name}.{end}" for name in ("accuracy", "macro_f1") for end in ("low", "high")),
)
NEEDED = (
    *("architecture", "preset", "seed", "label", "command", "epochs"),
    *("parameters", "multiply_adds", "milliseconds", "timed_on", "data.dataset_digest"),
    *(f"{split}.{name}" for split in SPLITS for name in _FIGURES),
)
"""What the page is made of; without one of these it is no result."""
TIMED_FACES = 50

Result = dict[str, Any]
"""One JSON file's content, as `summarize` makes it."""


def summarize(path: Path, label: str = "", remark: str = "") -> Result:
    """Tell of a finished run what is worth keeping: settings, figures with intervals, cost, history.

    Args:
        path: the run directory. It is only read.
        label: what is special about it, in a word, where other runs have its network, preset and seed.
        remark: what the run's record does not say of its training, a sentence.

    Raises:
        TrainingError: the directory holds no finished run, or one that was not measured on PublicTest.
        DependencyError: onnx is not installed.
    """
    run, settings = RunDirectory(path), stored_settings(path)
    if not run.metrics.exists() or not run.onnx_model.exists():
        raise TrainingError(f"{path} is not finished; finish it with: vire-edge train --run {path} --resume")
    metrics, data = run.read_json(run.metrics), run.read_json(run.data)
    if not metrics.get(SPLITS[1], {}).get("images"):
        raise TrainingError(f"{path} has no figures on new images of PublicTest; only such runs can stand side by side")
    history = run.read_history()
    costs = cost(run.onnx_model.read_bytes())
    return {
        "version": VERSION,
        "architecture": settings.architecture,
        "preset": settings.preset,
        "seed": settings.seed,
        "label": label,
        "command": settings.command,
        "remark": remark,
        "epochs": len(history),
        "kept_epoch": metrics["epoch"],
        "temperature": round(metrics["temperature"], 6),
        "parameters": costs.parameters,
        "multiply_adds": costs.multiply_adds,
        "milliseconds": round(milliseconds_per_face(run.onnx_model, _faces()), 3),
        "timed_on": f"one thread of {_processor()}",
        "finished": f"{datetime.fromtimestamp(run.metrics.stat().st_mtime, UTC):%Y-%m-%d}",
        **{split: _figures(metrics[split]) for split in (*SPLITS, "held_out")},
        "data": {key: data[key] for key in ("dataset_digest", "split_digest", "learnt", "held_out")},
        "recipe": run.read_json(run.settings)["recipe"],
        "environment": run.read_json(run.environment),
        "history": _columns([asdict(record) for record in history]),
    }


def file_name(result: Result) -> str:
    """`cnn-default.json`; other seeds than 1, and labels, are told apart."""
    seed = "" if result["seed"] == 1 else f"-seed{result['seed']}"
    label = f"-{result['label']}" if result["label"] else ""
    return slug(f"{result['architecture']}-{result['preset']}{seed}{label}.json")


def add_results(results: list[Result], folder: Path) -> dict[Path, str]:
    """Write results into a folder, each in place of an earlier one of the same run; all of them or none.

    Args:
        results: of the runs to take in.
        folder: where the others are.

    Returns:
        File → whether it was written or replaced.

    Raises:
        TrainingError: one would take another run's place, or was not measured on the same images as the others.
        StorageError: it cannot be written.
    """
    stored = {path: _read(path) for path in folder.glob("*.json")}
    wanted: dict[Path, Result] = {}
    for result in results:
        path = folder / file_name(result)
        other = wanted.get(path) or stored.get(path)
        if path in wanted or (other is not None and any(other[key] != result[key] for key in ("command", "epochs"))):
            raise TrainingError(
                f"{path} is another run's ({(other or result)['command']}, {(other or result)['epochs']} epochs); "
                "tell them apart with --label WORD, or remove the file"
            )
        wanted[path] = result
    _check_protocol(stored | wanted)
    for path, result in wanted.items():
        # A line for each thing, so that a change shows as one.
        lines = ",\n".join(f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in result.items())
        write_whole(path, f"{{\n{lines}\n}}\n")
    return {path: "replaced" if path in stored else "written" for path in wanted}


def read_results(folder: Path) -> list[Result]:
    """All results of a folder, in the order of the page: by architecture, preset and seed.

    Raises:
        TrainingError: there are none, one is damaged or of another version, or they were measured on other images.
    """
    found = {path: _read(path) for path in sorted(folder.glob("*.json"))}
    if not found:
        raise TrainingError(f"{folder} holds no results; add a finished run with: vire-edge results --add RUN")
    _check_protocol(found)
    order, presets = list(ARCHITECTURES), list(PRESETS)
    return sorted(
        found.values(),
        key=lambda result: (
            order.index(result["architecture"]) if result["architecture"] in order else len(order),
            result["architecture"],
            presets.index(result["preset"]) if result["preset"] in presets else len(presets),
            result["preset"],
            result["seed"],
            result["label"],
        ),
    )


def _check_protocol(results: dict[Path, Result]) -> None:
    """Results stand side by side only where they are of the same images."""
    (first, one), *others = results.items()
    for path, other in others:
        for name, ours, theirs in (
            ("images", other[SPLITS[0]]["images"], one[SPLITS[0]]["images"]),
            ("data, by its digest", other["data"]["dataset_digest"][:12], one["data"]["dataset_digest"][:12]),
        ):
            if ours != theirs:
                raise TrainingError(
                    f"{path} was measured on other {name} than {first} ({ours}, not {theirs}); "
                    "keep it in another folder with --folder"
                )


def _read(path: Path) -> Result:
    again = "make it again with: vire-edge results --add RUN"
    try:
        result: Result = json.loads(path.read_text(encoding="utf-8"))
        version = result["version"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(f"{path} is no result ({error!r}); {again}") from error
    if version != VERSION:
        raise TrainingError(f"{path} has version {version}, not {VERSION}; {again}")
    for name in NEEDED:
        value: Any = result
        for key in name.split("."):
            if not isinstance(value, dict) or key not in value:
                raise TrainingError(f'{path} lacks "{name}"; {again}')
            value = value[key]
    return result


def _figures(metrics: dict[str, Any]) -> dict[str, Any]:
    """A run's figures with intervals and without bulk."""
    around = asdict(intervals(np.array(metrics["confusion"])))
    kept = {key: value for key, value in metrics.items() if key not in DROPPED}
    rounded: dict[str, Any] = _rounded(kept | {"intervals": around})
    return rounded


def _columns(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """Name → the values of all epochs."""
    return {name: [_rounded(row[name]) for row in rows] for name in rows[0]}


def _rounded(value: Any) -> Any:
    """Six digits, wherever a number is in there."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: _rounded(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(part) for part in value]
    return value


def _faces() -> NDArray[np.uint8]:
    """Noise to take the time with: how long a network takes does not depend on what it sees."""
    return np.random.default_rng(0).integers(0, 256, (TIMED_FACES, 48, 48), dtype=np.uint8)


def _processor() -> str:
    """The processor's name, where Linux tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
