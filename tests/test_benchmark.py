"""What the benchmark concludes from costs and sights, and what it looks at."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vire_edge.benchmark.agreement import (
    Sight,
    compare_faces,
    compare_timelines,
    compare_truth,
    match,
    timeline,
)
from vire_edge.benchmark.machine import this_machine
from vire_edge.benchmark.peers import load_peer
from vire_edge.benchmark.scenes import PAUSE_SECONDS, SCENES, filmed, find_scene, read_shots
from vire_edge.benchmark.spread import ratio, spread
from vire_edge.benchmark.stages import Stages, Stopwatch
from vire_edge.camera import ShownFace
from vire_edge.config import CameraConfig, FacesConfig
from vire_edge.domain import EMOTIONS, BoundingBox, Emotion, EmotionScores
from vire_edge.errors import CameraError, DependencyError
from vire_edge.faces import HaarFaceDetector
from vire_edge.preprocess import to_gray

LEFT, RIGHT = BoundingBox(0, 0, 100, 100), BoundingBox(300, 0, 100, 100)
BESIDE_LEFT = BoundingBox(10, 0, 100, 100)
"""Overlaps with LEFT by 9/11."""
CAMERA = CameraConfig(width=320, height=240)


def showing(emotion: Emotion, share: float = 1.0) -> EmotionScores:
    rest = (1 - share) / (len(EMOTIONS) - 1)
    return EmotionScores(tuple(share if one is emotion else rest for one in EMOTIONS))


def sights(*boxes: tuple[BoundingBox, ...]) -> list[Sight]:
    return [Sight(number / 10, seen) for number, seen in enumerate(boxes)]


# --- costs --------------------------------------------------------------------------------------


def test_a_spread_has_the_mean_and_the_quantiles() -> None:
    values = [float(value) for value in range(101)]
    described = spread([*values[::-1]])
    assert (described.mean, described.p50, described.p95, described.p99) == (50.0, 50.0, 95.0, 99.0)


def test_the_ratio_is_that_of_the_means_and_lies_in_its_interval() -> None:
    rng = np.random.default_rng(0)
    dear, cheap = rng.uniform(40, 60, 300).tolist(), rng.uniform(2, 8, 300).tolist()
    found = ratio(dear, cheap, block=10)
    assert found.value == pytest.approx(sum(dear) / sum(cheap))
    assert 0.9 * found.value < found.low < found.value < found.high < 1.1 * found.value


def test_costs_that_keep_step_leave_the_ratio_no_room() -> None:
    cheap = [1.0, 5.0, 2.0, 9.0]
    found = ratio([12 * value for value in cheap], cheap, block=2)
    assert (found.value, found.low, found.high) == pytest.approx((12.0, 12.0, 12.0))


def test_an_expensive_frame_now_and_then_widens_the_interval() -> None:
    steady = ratio([50.0] * 100, [5.0] * 100, block=1)
    uneven = ratio([50.0] * 100, ([0.5] * 9 + [45.5]) * 10, block=1)
    assert steady.value == uneven.value == pytest.approx(10.0)
    assert uneven.low < steady.low
    assert steady.high < uneven.high
    # By blocks that hold one expensive frame each, nothing is left to chance.
    assert ratio([50.0] * 100, ([0.5] * 9 + [45.5]) * 10, block=10).high == pytest.approx(10.0)


@given(st.lists(st.floats(0.01, 1000), min_size=1, max_size=30), st.integers(1, 40))
def test_whatever_it_costs_the_ratio_to_itself_is_one(costs: list[float], block: int) -> None:
    found = ratio(costs, costs, block=block)
    assert (found.value, found.low, found.high) == pytest.approx((1.0, 1.0, 1.0))


class Worker:
    """Something with methods, one of which works while its results are read."""

    name = "worker"

    def rest(self, seconds: float) -> float:
        time.sleep(seconds)
        return seconds

    def proceed(self, steps: int) -> Iterator[int]:
        for step in range(steps):
            time.sleep(0.01)
            yield step


def test_stages_count_calls_and_what_generators_do_while_they_are_read() -> None:
    stages = Stages()
    watched = stages.watch(Worker())
    assert watched.name == "worker"
    assert watched.rest(0.02) == 0.02
    assert list(watched.proceed(3)) == [0, 1, 2]
    taken = stages.take()
    assert taken.keys() == {"rest", "proceed"}
    assert taken["rest"] >= 20
    assert taken["proceed"] >= 30
    assert stages.take() == {}
    stages.watch(watched, name="all").rest(0.0)
    assert stages.take().keys() == {"rest", "all"}


def test_waiting_takes_time_but_nothing_of_the_processor() -> None:
    watch = Stopwatch()
    time.sleep(0.05)
    cost = watch.read()
    assert cost.milliseconds >= 50
    assert cost.cpu_milliseconds < cost.milliseconds / 2


# --- faces --------------------------------------------------------------------------------------


def test_each_box_is_matched_once_and_the_best_overlap_goes_first() -> None:
    assert match([LEFT, RIGHT], [RIGHT, BESIDE_LEFT]) == [(1, 0), (0, 1)]
    assert match([LEFT], [BESIDE_LEFT, LEFT]) == [(0, 1)]
    assert match([LEFT], [BoundingBox(50, 0, 100, 100)]) == []


def test_recall_counts_the_reference_boxes_that_were_found() -> None:
    found = compare_faces(sights((LEFT, RIGHT), (LEFT,), ()), sights((BESIDE_LEFT,), (LEFT,), ()))
    assert (found.reference, found.found, found.others, found.unmatched) == (3, 2, 2, 0)
    assert found.recall == pytest.approx(2 / 3)


def test_a_box_that_the_reference_has_within_half_a_second_is_only_early_or_late() -> None:
    nothing: tuple[BoundingBox, ...] = ()
    reference = sights(*[nothing] * 5, (LEFT,), *[nothing] * 6)
    late = compare_faces(reference, sights(*[nothing] * 10, (LEFT,), nothing))
    assert (late.unmatched, late.never_near) == (1, 0)
    too_late = compare_faces(reference, sights(*[nothing] * 11, (LEFT,)))
    assert (too_late.unmatched, too_late.never_near) == (1, 1)
    elsewhere = compare_faces(reference, sights(*[nothing] * 5, (RIGHT,), *[nothing] * 6))
    assert (elsewhere.unmatched, elsewhere.never_near) == (1, 1)


def test_without_faces_nothing_was_missed() -> None:
    assert compare_faces(sights((), ()), sights((), ())).recall == 1.0
    assert compare_truth([(), ()], sights((), ())).recall == 1.0
    assert compare_timelines([], []).share == 1.0


boxes = st.builds(BoundingBox, st.integers(0, 90), st.integers(0, 90), st.integers(10, 60), st.integers(10, 60))


@given(st.lists(st.lists(boxes, max_size=4, unique=True).map(tuple), max_size=8))
def test_whatever_is_seen_it_agrees_with_itself(frames: list[tuple[BoundingBox, ...]]) -> None:
    seen = sights(*frames)
    found = compare_faces(seen, seen)
    assert (found.recall, found.unmatched, found.never_near) == (1.0, 0, 0)


def test_whoever_comes_or_goes_may_be_found_or_not() -> None:
    there, coming = ShownFace(LEFT, 1.0), ShownFace(RIGHT, 0.4)
    found = compare_truth(
        [(there, coming), (there, coming), (coming,), (there,)],
        sights((BESIDE_LEFT, RIGHT), (RIGHT,), (LEFT,), (BoundingBox(-25, -25, 150, 150),)),
    )
    assert (found.shown, found.found, found.boxes, found.false) == (3, 2, 5, 1)
    assert found.recall == pytest.approx(2 / 3)


# --- emotions -----------------------------------------------------------------------------------


def test_a_second_has_the_emotion_that_most_of_it_showed() -> None:
    shown = [
        Sight(0.0, (), (showing(Emotion.HAPPY),)),
        Sight(0.5, (), (showing(Emotion.SAD, 0.6),)),
        Sight(1.0, ()),
        Sight(2.2, (), (showing(Emotion.SAD), showing(Emotion.FEAR, 0.9))),
        Sight(2.9, (), (showing(Emotion.FEAR),)),
    ]
    assert timeline(shown) == {0: Emotion.HAPPY, 2: Emotion.FEAR}


def test_timelines_agree_where_both_know_the_same_and_not_where_one_knows_nothing() -> None:
    def told(*emotions: Emotion | None) -> list[Sight]:
        return [
            Sight(float(second), (), () if emotion is None else (showing(emotion),))
            for second, emotion in enumerate(emotions)
        ]

    compared = compare_timelines(
        told(Emotion.HAPPY, Emotion.SAD, Emotion.FEAR, None, None),
        told(Emotion.HAPPY, Emotion.FEAR, None, Emotion.SAD, None),
    )
    assert (compared.seconds, compared.same, compared.share) == (4, 1, 0.25)


# --- scenes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SCENES)
def test_every_scene_can_be_drawn(name: str) -> None:
    shots = list(read_shots(find_scene(name, CAMERA), fps=5, seconds=1))
    assert [shot.seconds for shot in shots] == pytest.approx([0.0, 0.2, 0.4, 0.6, 0.8])
    assert {shot.image.shape for shot in shots} == {(240, 320, 3)}


@pytest.mark.parametrize("name", ["still", "furnished"])
def test_a_still_room_is_still_but_for_its_noise(name: str) -> None:
    first, *_, last = [shot.image.astype(int) for shot in read_shots(find_scene(name, CAMERA), fps=1, seconds=3)]
    assert 1.0 < np.abs(first - last).mean() < 6.0
    assert np.abs(first.mean(axis=2) - last.mean(axis=2)).max() < 20


def test_furniture_makes_a_room_as_hard_to_search_as_a_photograph() -> None:
    def contrast(name: str) -> float:
        shot = next(read_shots(find_scene(name, CAMERA), fps=1, seconds=1))
        return float(to_gray(shot.image).std())

    assert contrast("furnished") > 2 * contrast("still")


def test_a_film_shows_what_was_drawn_and_where_its_faces_are(tmp_path: Path) -> None:
    film = filmed(find_scene("actor", CAMERA), tmp_path / "actor.avi", fps=5, seconds=2)
    drawn = list(read_shots(find_scene("actor", CAMERA), fps=5, seconds=2))
    shots = list(read_shots(film, fps=5, seconds=3))
    assert [shot.seconds for shot in shots] == pytest.approx(
        [number / 5 + (PAUSE_SECONDS if number >= 10 else 0) for number in range(15)]
    )
    assert [shot.faces for shot in shots] == [shot.faces for shot in (*drawn, *drawn[:5])]
    for shot, original in zip(shots, drawn, strict=False):
        assert np.abs(to_gray(shot.image).astype(int) - to_gray(original.image)).mean() < 6


def test_a_face_is_where_the_actor_says() -> None:
    detector = HaarFaceDetector(FacesConfig())
    for shot in read_shots(find_scene("people", CameraConfig()), fps=1, seconds=9):
        assert shot.faces is not None
        found = [detection.box for detection in detector.detect(to_gray(shot.image))]
        there = [face.box for face in shot.faces if face.presence == 1]
        assert len(match(there, found)) == len(there)


def test_a_clip_that_does_not_exist_is_named_with_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(
        CameraError, match=r"nothing\.gif does not exist; name a clip, a camera, or with --scene one of actor"
    ):
        find_scene(str(tmp_path / "nothing.gif"), CAMERA)


# --- where it runs, and beside whom -------------------------------------------------------------


def test_the_machine_is_named_by_its_processor_or_its_board(tmp_path: Path) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text("processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\nflags\t: a b\n")
    assert this_machine(info).processor == "Some CPU @ 2 GHz"
    info.write_text("processor\t: 0\nBogoMIPS\t: 108.00\n\nModel\t\t: Raspberry Pi 4 Model B Rev 1.5\n")
    assert this_machine(info).processor == "Raspberry Pi 4 Model B Rev 1.5"
    assert this_machine(tmp_path / "none").processor
    assert "OpenCV 4." in str(this_machine(info))


def test_a_peer_that_is_not_installed_is_named_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.path", [])
    with pytest.raises(DependencyError, match="fer is not installed; run: pip install fer"):
        load_peer("fer")
