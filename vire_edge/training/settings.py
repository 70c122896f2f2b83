"""What a training run is asked to do, as given and as stored in its directory."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from shlex import quote
from typing import Any

from vire_edge.errors import TrainingError
from vire_edge.training.backend import Precision
from vire_edge.training.data.augment import Augmentation
from vire_edge.training.data.targets import VotesAs
from vire_edge.training.recipes import Optimizer, Recipe, recipe_for
from vire_edge.training.rundir import RunDirectory

OVERRIDES = (
    *("epochs", "batch_size", "learning_rate", "initializer"),
    *("patience", "class_weight_power", "focal_gamma", "start_share"),
)
"""What the command line may change about a preset's recipe."""
FACES_REPEATS = 10
"""Makes 200 own faces one in fifteen among FER2013's; once each, they would be one in 150."""
_PATHS = ("data", "fer_plus", "faces", "start_from")


class IgnoredOptionError(TrainingError):
    """A recipe would leave an option out of account."""

    def __init__(self, option: str, reason: str) -> None:
        super().__init__(reason)
        self.option = option
        """As on the command line."""


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """What a run is asked to do."""

    data: Path | None
    """FER2013, or the like; None where a run learns from own faces alone."""
    run: Path
    """The run directory."""
    architecture: str = "cnn"
    preset: str = "default"
    """Where the recipe comes from; part of the recorded command."""
    recipe: Recipe | None = None
    """Replaces the preset's."""
    seed: int = 1
    fer_plus: Path | None = None
    """FER+'s votes on the images of `data`."""
    fer_plus_as: VotesAs = VotesAs.MIXED
    faces: Path | None = None
    """A user's own faces."""
    faces_repeats: int = FACES_REPEATS
    """How often each of them is learnt from in an epoch beside FER2013."""
    drop_leaks: bool = False
    """Leave out training images that also stand in the evaluation split, where the recipe does not clean."""
    precision: Precision = Precision.FLOAT32
    teachers: tuple[Path, ...] = ()
    """Model files to imitate, as far as the recipe says."""
    start_from: Path | None = None
    """A trained network of the same architecture, a Keras file, whose weights the first epoch begins with."""

    @property
    def effective_recipe(self) -> Recipe:
        """The recipe given, or else the preset's.

        Raises:
            TrainingError: there is no such preset for the architecture.
        """
        recipe = self.recipe or recipe_for(self.preset, self.architecture)
        if self.fer_plus is None or self.fer_plus_as is VotesAs.MIXED:
            return recipe
        return replace(recipe, votes=1.0 if self.fer_plus_as is VotesAs.SOFT else 0.0)

    def check_recipe(self) -> None:
        """Make sure that the recipe takes what is given to it.

        Raises:
            IgnoredOptionError: it would leave an option out of account.
        """
        recipe, name = self.effective_recipe, f"the recipe {self.architecture}/{self.preset}"
        if self.fer_plus is not None and self.fer_plus_as is VotesAs.MIXED and not recipe.votes:
            raise IgnoredOptionError(
                "--fer-plus",
                f"{name} takes nothing from FER+; choose --preset best, leave out --fer-plus, "
                "or take the votes as targets with --fer-plus-as soft or majority",
            )
        if self.teachers and not recipe.distillation:
            raise IgnoredOptionError(
                "--teacher", f"{name} imitates no teacher; choose --preset best, or leave out --teacher"
            )
        if recipe.start_share and self.start_from is None:
            raise IgnoredOptionError(
                "--start-share",
                f"{name} goes on from no network; name one with --start-from, or leave out --start-share",
            )

    @property
    def command(self) -> str:
        """The command that repeats this run, with the data's name instead of its path."""
        base, used = recipe_for(self.preset, self.architecture), self.effective_recipe
        words = ["vire-edge train", *self._data_options]
        words += [f"--teacher {quote(teacher.name)}" for teacher in self.teachers]
        words += [] if self.start_from is None else [f"--start-from {quote(self.start_from.name)}"]
        words += [f"--arch {self.architecture}"]
        words += [f"--preset {self.preset}", f"--seed {self.seed}"]
        words += [
            f"--{name.replace('_', '-')} {getattr(used, name)}"
            for name in OVERRIDES
            if getattr(base, name) != getattr(used, name)
        ]
        words += [] if self.precision is Precision.FLOAT32 else [f"--precision {self.precision}"]
        return " ".join(words)

    @property
    def _data_options(self) -> list[str]:
        words = [] if self.data is None else [f"--data {quote(self.data.name)}"]
        words += [] if self.fer_plus is None else [f"--fer-plus {quote(self.fer_plus.name)}"]
        words += [] if self.fer_plus_as is VotesAs.MIXED else [f"--fer-plus-as {self.fer_plus_as}"]
        words += [] if self.faces is None else [f"--faces {quote(self.faces.name)}"]
        words += [] if self.faces_repeats == FACES_REPEATS else [f"--faces-repeats {self.faces_repeats}"]
        return [*words, "--drop-leaks"] if self.drop_leaks else words

    def as_json(self) -> dict[str, Any]:
        """What `stored_settings` reads again."""
        return {
            **asdict(self),
            **{name: (path := getattr(self, name)) and str(path.resolve()) for name in _PATHS},
            "teachers": [str(teacher.resolve()) for teacher in self.teachers],
            "recipe": asdict(self.effective_recipe),
        }


def stored_settings(run: Path) -> TrainSettings:
    """The settings of a run that was started earlier.

    Raises:
        TrainingError: the directory holds no run, or one of another version.
    """
    directory = RunDirectory(run)
    stored = directory.read_json(directory.settings)
    try:
        recipe = stored.pop("recipe")
        augmentation = Augmentation(**recipe.pop("augmentation"))
        optimizer = Optimizer(recipe.pop("optimizer", Optimizer.ADAM))
        stored |= {name: (path := stored.get(name)) and Path(path) for name in _PATHS} | {"run": run}
        stored["fer_plus_as"] = VotesAs(stored.get("fer_plus_as", VotesAs.MIXED))
        stored["teachers"] = tuple(map(Path, stored.get("teachers", ())))
        stored["precision"] = Precision(stored.get("precision", Precision.FLOAT32))
        return TrainSettings(**stored | {"recipe": Recipe(**recipe, augmentation=augmentation, optimizer=optimizer)})
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise TrainingError(f"{directory.settings} is of another version ({error}); start a new run") from error
