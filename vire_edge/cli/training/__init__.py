"""The offline commands: printing and options only; the work is in `vire_edge.training`."""

from vire_edge.cli.training.evaluate import evaluate
from vire_edge.cli.training.export import export
from vire_edge.cli.training.make_faces import make_faces
from vire_edge.cli.training.results import results
from vire_edge.cli.training.train import train
from vire_edge.cli.training.tune import tune

__all__ = ["evaluate", "export", "make_faces", "results", "train", "tune"]
