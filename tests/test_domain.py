from datetime import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vire_edge.domain import EMOTIONS, ActiveHours, BoundingBox, Emotion, EmotionScores, Severity

boxes = st.builds(BoundingBox, st.integers(-100, 500), st.integers(-100, 500), st.integers(1, 300), st.integers(1, 300))


@given(boxes, boxes)
def test_iou_is_symmetric_and_a_share(one: BoundingBox, other: BoundingBox) -> None:
    assert one.iou(other) == other.iou(one)
    assert 0.0 <= one.iou(other) <= 1.0
    assert one.iou(one) == 1.0


def test_boxes_that_only_touch_do_not_overlap() -> None:
    assert BoundingBox(0, 0, 10, 10).iou(BoundingBox(10, 0, 10, 10)) == 0.0


def test_the_emotions_stand_in_the_order_of_fer2013() -> None:
    assert ",".join(EMOTIONS) == "angry,disgust,fear,happy,sad,surprise,neutral"


def test_scores_name_their_dominant_emotion_and_add_up_groups() -> None:
    scores = EmotionScores((0.2, 0.0, 0.1, 0.05, 0.4, 0.05, 0.2))
    assert scores.dominant is Emotion.SAD
    assert scores[Emotion.ANGRY] == 0.2
    assert scores.share(frozenset({Emotion.SAD, Emotion.FEAR})) == pytest.approx(0.5)
    assert scores.as_dict()[Emotion.NEUTRAL] == 0.2
    assert scores.margin == pytest.approx(0.2)


def test_scores_of_another_length_are_refused() -> None:
    with pytest.raises(ValueError, match="7 probabilities expected, got 2"):
        EmotionScores((0.5, 0.5))


@pytest.mark.parametrize(
    ("local", "by_day", "by_night"),
    [
        (time(7, 59), False, False),
        (time(8), True, False),
        (time(21), False, False),
        (time(23), False, True),
        (time(2), False, True),
    ],
)
def test_active_hours_may_run_over_midnight(local: time, by_day: bool, by_night: bool) -> None:
    assert ActiveHours(time(8), time(21)).contain(local) is by_day
    assert ActiveHours(time(22), time(6)).contain(local) is by_night


def test_severities_are_ordered() -> None:
    assert Severity.INFO.rank < Severity.WARNING.rank < Severity.CRITICAL.rank
