"""A direct call of the Keras network beside ONNX Runtime, for one face: in turns, on one thread."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vire_edge.benchmark.spread import Ratio, Spread, ratio, spread
from vire_edge.benchmark.stages import Stopwatch
from vire_edge.camera.synthetic import load_expressions
from vire_edge.config.settings import ModelConfig
from vire_edge.emotions import OnnxEmotionClassifier
from vire_edge.preprocess import crop_face
from vire_edge.training.evaluation.reading import load_network

CALLS, WARM_UPS = 200, 20


@dataclass(frozen=True, slots=True)
class KerasCall:
    """What reading one face takes, milliseconds."""

    network: str
    model: str
    keras: Spread
    ours: Spread
    ratio: Ratio


def compare_keras(network: Path, model: ModelConfig) -> KerasCall:
    """Time both on the faces of the synthetic actor.

    Args:
        network: a Keras file.
        model: ours.

    Raises:
        ModelError: one of them is missing, damaged or reads something else.
        DependencyError: Keras is not installed.
    """
    called, classifier = load_network(network), OnnxEmotionClassifier(model.path, precision=model.precision)
    costs: tuple[list[float], list[float]] = ([], [])
    faces = [crop_face(picture) for picture in load_expressions().values()]
    for number in range(WARM_UPS + CALLS):
        face = faces[number % len(faces)][np.newaxis]
        watch = Stopwatch()
        np.asarray(called(face[..., np.newaxis], training=False))
        costs[0].append(watch.read().milliseconds)
        watch = Stopwatch()
        classifier.classify(face)
        costs[1].append(watch.read().milliseconds)
    keras, ours = costs[0][WARM_UPS:], costs[1][WARM_UPS:]
    return KerasCall(network.name, classifier.path.name, spread(keras), spread(ours), ratio(keras, ours, block=1))
