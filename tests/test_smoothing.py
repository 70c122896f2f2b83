import pytest
from hypothesis import given
from hypothesis import strategies as st

from vire_edge.domain import EMOTIONS, Emotion, EmotionScores
from vire_edge.smoothing import Smoother


def certain(emotion: Emotion) -> EmotionScores:
    return EmotionScores(tuple(float(other is emotion) for other in EMOTIONS))


def smoother() -> Smoother:
    return Smoother(time_constant_seconds=1.0, max_gap_seconds=2.0)


def test_the_first_observation_is_the_state() -> None:
    state = smoother().update(1, certain(Emotion.SAD), now=5.0)
    assert state.scores.dominant is Emotion.SAD
    assert (state.observed_seconds, state.interval_seconds) == (0.0, 0.0)


def test_after_the_time_constant_a_new_expression_has_63_percent_at_any_frame_rate() -> None:
    for frames in (1, 2, 10, 30):
        tested = smoother()
        tested.update(1, certain(Emotion.SAD), now=0.0)
        for frame in range(1, frames + 1):
            state = tested.update(1, certain(Emotion.HAPPY), now=frame / frames)
        assert state.scores[Emotion.HAPPY] == pytest.approx(0.632, abs=1e-3)
        assert state.observed_seconds == pytest.approx(1.0)


def test_one_misread_frame_does_not_change_the_dominant_emotion() -> None:
    tested = smoother()
    for frame in range(20):
        state = tested.update(1, certain(Emotion.FEAR if frame == 10 else Emotion.NEUTRAL), now=frame / 10)
        assert state.scores.dominant is Emotion.NEUTRAL


def test_a_gap_is_not_observed_time() -> None:
    tested = smoother()
    tested.update(1, certain(Emotion.SAD), now=0.0)
    tested.update(1, certain(Emotion.SAD), now=1.0)
    state = tested.update(1, certain(Emotion.SAD), now=61.0)
    assert (state.observed_seconds, state.interval_seconds) == (1.0, 0.0)


def test_tracks_do_not_mix() -> None:
    tested = smoother()
    for frame in range(30):
        sad = tested.update(1, certain(Emotion.SAD), now=frame / 10)
        happy = tested.update(2, certain(Emotion.HAPPY), now=frame / 10)
    assert sad.scores == certain(Emotion.SAD)
    assert happy.scores == certain(Emotion.HAPPY)


def test_a_forgotten_track_starts_anew() -> None:
    tested = smoother()
    tested.update(1, certain(Emotion.SAD), now=0.0)
    tested.keep(())
    assert tested.update(1, certain(Emotion.HAPPY), now=0.1).scores == certain(Emotion.HAPPY)


def test_time_that_runs_backwards_changes_nothing_but_the_scores_weight() -> None:
    tested = smoother()
    tested.update(1, certain(Emotion.SAD), now=10.0)
    state = tested.update(1, certain(Emotion.HAPPY), now=3.0)
    assert state.scores == certain(Emotion.SAD)
    assert state.interval_seconds == 0.0


weights = st.lists(st.floats(0.0, 1.0), min_size=7, max_size=7).filter(lambda values: sum(values) > 0.01)


@given(st.lists(st.tuples(weights, st.floats(0.0, 5.0)), min_size=1, max_size=40))
def test_smoothed_scores_stay_inside_their_inputs_and_sum_to_1(steps: list[tuple[list[float], float]]) -> None:
    tested, now = smoother(), 0.0
    inputs = []
    for values, elapsed in steps:
        now += elapsed
        scores = EmotionScores(tuple(value / sum(values) for value in values))
        inputs.append(scores)
        state = tested.update(1, scores, now=now)
        assert sum(state.scores.probabilities) == pytest.approx(1.0)
        for emotion in EMOTIONS:
            low, high = min(one[emotion] for one in inputs), max(one[emotion] for one in inputs)
            assert low - 1e-9 <= state.scores[emotion] <= high + 1e-9
        assert state.observed_seconds <= now + 1e-9
