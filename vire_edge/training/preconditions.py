"""What a training needs, looked at in a second: before a framework is loaded and data are read."""

from __future__ import annotations

from vire_edge.errors import DatasetError
from vire_edge.training.backend import check_packages
from vire_edge.training.data.dataset import check_place
from vire_edge.training.data.fer_plus import REMEDY as FER_PLUS_REMEDY
from vire_edge.training.evaluation.reading import check_start
from vire_edge.training.run_files import check_writable
from vire_edge.training.rundir import RunDirectory
from vire_edge.training.settings import TrainSettings

PACKAGES = ("keras", "onnx", "matplotlib")
"""What a run needs from its beginning to its plots; Keras names its backend itself."""


def check_before(settings: TrainSettings, *, resume: bool) -> None:
    """Make sure that a run can begin; what is inside the files is looked at when they are read.

    Args:
        settings: the run's.
        resume: the run is there, and goes on.

    Raises:
        TrainingError: an option is of no use to the recipe, or the run's folder holds something else.
        DatasetError: data are missing.
        ModelError: the network to start from is missing.
        StorageError: the run's folder cannot be written.
        DependencyError: the extra `train` is not installed.
    """
    settings.check_recipe()
    check_packages(*PACKAGES)
    check_sources(settings)
    if resume:
        check_writable(settings.run)
        return
    if settings.start_from is not None:
        check_start(settings.start_from)
    RunDirectory(settings.run).check_free()


def check_sources(settings: TrainSettings) -> None:
    """Make sure that what a run learns from is there.

    Raises:
        DatasetError: something is not.
    """
    for place in (settings.data, settings.faces):
        if place is not None:
            check_place(place)
    if settings.fer_plus is not None:
        try:
            with settings.fer_plus.open("rb"):
                pass
        except OSError as error:
            raise DatasetError(f"{settings.fer_plus} cannot be read ({error.strerror}); {FER_PLUS_REMEDY}") from error
