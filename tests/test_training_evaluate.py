from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from vire_edge.training.evaluation.metrics import calibration_error, fit_temperature, measure, reliability, temper


def certain(read: list[int], confidence: float = 1.0) -> NDArray[np.float64]:
    rows = np.full((len(read), 7), (1 - confidence) / 6)
    rows[np.arange(len(read)), read] = confidence
    return rows


def test_figures_of_a_known_confusion() -> None:
    labels = np.array([0, 0, 0, 1, 3, 3])
    metrics = measure(certain([0, 0, 3, 3, 3, 3], 0.9), labels)
    assert metrics.accuracy == pytest.approx(4 / 6)
    assert metrics.recall[0] == pytest.approx(2 / 3)
    assert metrics.precision[3] == pytest.approx(2 / 4)
    assert (metrics.recall[1], metrics.precision[1], metrics.f1[1]) == (0, 0, 0)
    assert metrics.macro_f1 == pytest.approx((0.8 + 0 + 2 / 3) / 3)
    assert metrics.confusion[0] == (2, 0, 0, 1, 0, 0, 0)
    assert metrics.loss == pytest.approx(-(4 * np.log(0.9) + 2 * np.log(0.1 / 6)) / 6)
    assert metrics.support == (3, 1, 0, 2, 0, 0, 0)


def test_calibration_error_is_the_gap_between_confidence_and_accuracy() -> None:
    labels = np.array([0] * 10)
    read = [0] * 6 + [1] * 4
    assert calibration_error(certain(read, 0.9), labels) == pytest.approx(0.3)
    assert calibration_error(certain(read, 0.6), labels) == pytest.approx(0.0)


def test_temperature_undoes_an_overconfident_scale() -> None:
    rng = np.random.default_rng(0)
    honest = rng.normal(0, 1.5, (4000, 7))
    shares = temper(honest, 1.0)
    labels = np.array([rng.choice(7, p=row) for row in shares])
    too_sure = temper(honest, 1 / 2.5)
    temperature = fit_temperature(too_sure, labels)
    assert temperature == pytest.approx(2.5, rel=0.08)
    assert calibration_error(temper(np.log(too_sure), temperature), labels) < 0.03 < calibration_error(too_sure, labels)


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6), st.floats(0.2, 1.0)), min_size=1, max_size=40))
def test_every_share_stays_inside_0_and_1(rows: list[tuple[int, int, float]]) -> None:
    labels = np.array([label for label, _, _ in rows])
    probabilities = np.concatenate([certain([read], confidence) for _, read, confidence in rows])
    metrics = measure(probabilities, labels)
    shares = (metrics.accuracy, metrics.macro_f1, metrics.calibration_error, *metrics.recall, *metrics.precision)
    assert all(0 <= share <= 1 for share in shares)
    assert np.isfinite(metrics.loss)
    assert sum(map(sum, metrics.confusion)) == len(rows)


def test_reliability_tells_of_every_image_once() -> None:
    rng = np.random.default_rng(4)
    probabilities, labels = rng.dirichlet(np.ones(7), 500), rng.integers(0, 7, 500)
    bins = reliability(probabilities, labels)
    assert sum(place.images for place in bins) == 500
    assert all(0 <= place.accuracy <= 1 for place in bins)
    confidences = [place.confidence for place in bins]
    assert confidences == sorted(confidences)
    gap = sum(place.images * abs(place.confidence - place.accuracy) for place in bins) / 500
    assert calibration_error(probabilities, labels) == pytest.approx(gap)


def test_no_images_have_figures_of_nothing() -> None:
    metrics = measure(np.zeros((0, 7)), np.zeros(0, np.int64))
    assert (metrics.images, metrics.accuracy, metrics.macro_f1, metrics.loss, metrics.calibration_error) == (0,) * 5
