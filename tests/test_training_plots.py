from __future__ import annotations

import math
import subprocess
import sys
from xml.etree import ElementTree as ET

import cv2
import numpy as np
import pytest

from vire_edge.domain import EMOTIONS
from vire_edge.training.evaluation.metrics import Bin
from vire_edge.training.report import plots
from vire_edge.training.rundir import EpochRecord

HISTORY = [
    EpochRecord(
        epoch=epoch, learning_rate=0.1 / epoch, loss=2 / epoch, accuracy=0.2 * epoch,
        held_out_loss=2.1 / epoch, held_out_accuracy=0.19 * epoch, seconds=1.0,
    )
    for epoch in (1, 2, 3, 4)
]  # fmt: skip
COUNTS = (np.eye(7, dtype=int) * 90 + 1).tolist()
TRIALS = [
    plots.Trial(2, "complete", 1.4, {"learning_rate": 0.001}),
    plots.Trial(0, "complete", 1.9, {"learning_rate": 0.01}),
    plots.Trial(1, "pruned", 2.5, {"learning_rate": 0.1}),
    plots.Trial(3, "fail", math.nan, {}),
]
FIGURES = {
    "classes": lambda: plots.class_distribution({"Training": [10, 1, 9, 20, 12, 8, 13], "PublicTest": [2] * 7}),
    "epochs": lambda: plots.epochs(HISTORY, 4),
    "one epoch": lambda: plots.epochs(HISTORY[:1]),
    "confusion": lambda: plots.confusion(COUNTS),
    "reliability": lambda: plots.reliability_diagram([Bin(10, 0.3, 0.4), Bin(50, 0.9, 0.85)]),
    "trials": lambda: plots.trial_losses(TRIALS),
    "no trials": lambda: plots.trial_losses([]),
}


def words(text: str) -> list[str]:
    return [
        "".join(element.itertext()).strip() for element in ET.fromstring(text).iter() if element.tag.endswith("text")
    ]


@pytest.mark.parametrize("name", FIGURES)
def test_each_plot_is_a_picture_with_ink_in_it_and_follows_the_readers_theme(name: str) -> None:
    figure = FIGURES[name]()
    pixels = cv2.imdecode(np.frombuffer(plots.png(figure), np.uint8), cv2.IMREAD_GRAYSCALE)
    assert pixels is not None
    assert pixels.min() < 100 < pixels.max()
    text = plots.svg(figure)
    assert "prefers-color-scheme:dark" in text
    assert "currentColor" in text
    assert plots.INK not in text.partition("</style>")[2]


def test_a_plot_is_the_same_each_time() -> None:
    # With clip paths and markers, whose names matplotlib would draw by chance.
    assert plots.svg(FIGURES["trials"]()) == plots.svg(FIGURES["trials"]())


def test_axes_say_what_they_measure() -> None:
    assert {"loss (nats)", "accuracy (%)", "learning rate", "epoch", "kept: epoch 4"} <= set(
        words(plots.svg(FIGURES["epochs"]()))
    )
    assert {"trial", "loss on held-out images (nats)", "stopped early"} <= set(words(plots.svg(FIGURES["trials"]())))


def test_confusion_shows_share_and_count_of_each_cell() -> None:
    shown = words(plots.svg(plots.confusion(COUNTS)))
    assert set(EMOTIONS) <= set(shown)
    assert shown.count("94 %") == 7
    assert shown.count("91") == 7
    assert "disgust (97)" in shown


def test_drawing_leaves_no_state_behind() -> None:
    code = (
        "import sys, matplotlib\n"
        "from vire_edge.training.report import plots\n"
        "names = ('svg.fonttype', 'svg.hashsalt')\n"
        "before = [matplotlib.rcParams[name] for name in names]\n"
        "plots.svg(plots.confusion([[1] * 7] * 7))\n"
        "assert [matplotlib.rcParams[name] for name in names] == before\n"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    ran = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
