from __future__ import annotations

import cv2
import cv2.data
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vire_edge.camera import DEMO_SCRIPT, Script, Step, SyntheticSource
from vire_edge.camera.script import MORPH_SECONDS
from vire_edge.camera.synthetic import load_expressions
from vire_edge.domain import EMOTIONS, Emotion
from vire_edge.preprocess import to_gray

HAPPY = Script.solo((10.0, Emotion.HAPPY))


@pytest.fixture(scope="module")
def cascade() -> cv2.CascadeClassifier:
    return cv2.CascadeClassifier(cv2.data.haarcascades + "haarcascade_frontalface_default.xml")


def faces(cascade: cv2.CascadeClassifier, gray: np.ndarray) -> list[tuple[int, int, int, int]]:
    found = cascade.detectMultiScale(gray, scaleFactor=1.1, minNeighbors=6, minSize=(40, 40))
    return [(int(x), int(y), int(width), int(height)) for x, y, width, height in found]


# --- script -------------------------------------------------------------------------------------


def test_the_demo_shows_calm_joy_distress_fright_and_an_empty_room() -> None:
    (steps,) = DEMO_SCRIPT.people
    assert {step.expression for step in steps} >= {
        Emotion.NEUTRAL,
        Emotion.HAPPY,
        Emotion.SAD,
        Emotion.ANGRY,
        Emotion.SURPRISE,
        None,
    }
    assert 45 <= DEMO_SCRIPT.seconds <= 60


def test_expressions_follow_the_steps_and_nobody_comes_after_the_last() -> None:
    script = Script.solo((2.0, Emotion.SAD), (1.0, None), (1.0, Emotion.FEAR))
    assert [script.expression(0, seconds) for seconds in (0.0, 1.9, 2.0, 3.5, 4.0)] == [
        Emotion.SAD,
        Emotion.SAD,
        None,
        Emotion.FEAR,
        None,
    ]


def test_a_morph_goes_from_one_expression_to_the_next_around_the_border() -> None:
    script = Script.solo((2.0, Emotion.SAD), (2.0, Emotion.HAPPY))
    assert script.look(0, 1.7).weights == {Emotion.SAD: 1.0}
    assert script.look(0, 2.0).weights == pytest.approx({Emotion.SAD: 0.5, Emotion.HAPPY: 0.5})
    assert script.look(0, 2.3).weights == {Emotion.HAPPY: 1.0}


def test_people_come_and_go_gradually() -> None:
    script = Script.solo((2.0, Emotion.SAD), (2.0, None))
    assert script.look(0, 1.0).presence == 1.0
    assert script.look(0, 2.0).presence == pytest.approx(0.5)
    assert script.look(0, 3.0).presence == 0.0


@given(st.data())
def test_shares_sum_to_one_and_presence_stays_between_away_and_there(data: st.DataObject) -> None:
    expression = st.sampled_from([*EMOTIONS, None])
    steps = data.draw(st.lists(st.tuples(st.floats(MORPH_SECONDS, 20), expression), min_size=1, max_size=8))
    script = Script.solo(*steps)
    look = script.look(0, data.draw(st.floats(-1, script.seconds + 1)))
    assert 0.0 <= look.presence <= 1.0
    assert not look.weights or sum(look.weights.values()) == pytest.approx(1.0)
    assert look.presence == 0.0 or look.weights


@pytest.mark.parametrize("seconds", [0.0, -1.0, 0.1, float("nan")])
def test_a_step_is_no_shorter_than_its_morph(seconds: float) -> None:
    with pytest.raises(ValueError, match="at least"):
        Step(seconds, Emotion.SAD)


def test_a_script_needs_somebody() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Script(())
    with pytest.raises(ValueError, match="at least one"):
        Script.solo()


# --- actor --------------------------------------------------------------------------------------


def test_there_is_a_picture_for_each_emotion() -> None:
    expressions = load_expressions()
    assert set(expressions) == set(EMOTIONS)
    assert len({picture.shape for picture in expressions.values()}) == 1


def test_the_same_second_gives_the_same_picture_and_no_two_are_alike() -> None:
    first, second = SyntheticSource(HAPPY), SyntheticSource(HAPPY)
    picture = first.image_at(1.0)
    assert picture.shape == (480, 640, 3)
    assert picture.dtype == np.uint8
    assert np.array_equal(picture, second.image_at(1.0))
    assert not np.array_equal(picture, second.image_at(1.1))
    assert not np.array_equal(picture, SyntheticSource(HAPPY, seed=1).image_at(1.0))


def test_a_capture_plays_the_script_once_at_its_rate() -> None:
    source = SyntheticSource(Script.solo((1.0, Emotion.HAPPY)), 160, 120, fps=5)
    source.check()
    capture, times = source.open(), []
    while capture.grab():
        times.append(capture.position_seconds)
        image = capture.retrieve()
        assert image is not None
        assert image.shape == (120, 160, 3)
    assert times == pytest.approx([0.0, 0.2, 0.4, 0.6, 0.8])
    assert source.open().grab()


def test_the_cascade_finds_the_face_in_at_least_97_of_100_pictures(cascade: cv2.CascadeClassifier) -> None:
    sources = [SyntheticSource(Script.solo((60.0, emotion)), seed=seed) for seed, emotion in enumerate(EMOTIONS)]
    moments = np.linspace(1.0, 59.0, 15)
    found = [bool(faces(cascade, to_gray(source.image_at(float(at))))) for source in sources for at in moments]
    assert sum(found) >= 0.97 * len(found)


def test_an_empty_room_has_no_face(cascade: cv2.CascadeClassifier) -> None:
    source = SyntheticSource(Script.solo((30.0, None)))
    assert not any(faces(cascade, to_gray(source.image_at(float(second)))) for second in range(0, 30, 3))


def test_two_people_stand_side_by_side(cascade: cv2.CascadeClassifier) -> None:
    source = SyntheticSource(Script(((Step(30.0, Emotion.HAPPY),), (Step(30.0, Emotion.SAD),))))
    for second in range(1, 30, 5):
        found = sorted(faces(cascade, to_gray(source.image_at(second))))
        assert len(found) == 2
        assert found[0][0] + found[0][2] <= 330
        assert found[1][0] >= 310


@pytest.mark.parametrize(("width", "height"), [(320, 240), (1280, 720), (160, 120), (240, 320)])
def test_other_sizes_show_a_face_too(width: int, height: int, cascade: cv2.CascadeClassifier) -> None:
    image = SyntheticSource(HAPPY, width, height).image_at(5.0)
    assert image.shape == (height, width, 3)
    assert len(faces(cascade, to_gray(image))) == 1
