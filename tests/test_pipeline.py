"""Frames → observations, with a detector and a classifier that read what a test has drawn."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from vire_edge.alerts import AlertEngine
from vire_edge.config import CameraConfig, Config
from vire_edge.domain import (
    EMOTIONS,
    BoundingBox,
    CameraState,
    CameraStatus,
    Detection,
    Emotion,
    EmotionScores,
    EndReason,
    EpisodeChange,
    Frame,
    Instant,
    Severity,
    SpikeRule,
)
from vire_edge.pipeline import UNDECIDED_MARGIN, Observation, Pipeline
from vire_edge.quality import Flaw

NOON = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
TEXTURE = np.kron(np.indices((10, 10)).sum(axis=0) % 2, np.ones((10, 10), dtype=np.int64))
FEAR_RULE = SpikeRule(
    name="fear",
    severity=Severity.WARNING,
    threshold=0.8,
    clear_threshold=0.5,
    hold_seconds=2.0,
    cooldown_seconds=60.0,
    emotions=frozenset({Emotion.FEAR}),
)


class DrawnFaces:
    """Finds what `show` has drawn: fakes the search by remembering the boxes."""

    def __init__(self) -> None:
        self.boxes: list[BoundingBox] = []

    def find(self, gray: NDArray[np.uint8], *, now: float) -> Sequence[Detection]:
        assert gray.ndim == 2
        assert now > 0
        return [Detection(box) for box in self.boxes]

    def reset(self) -> None:
        self.boxes = []


class BrightnessClassifier:
    """Reads the emotion from the brightness that a face was drawn with: 20 gray values an emotion."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def classify(self, faces: NDArray[np.uint8]) -> Sequence[EmotionScores]:
        assert faces.shape[1:] == (48, 48)
        self.batches.append(len(faces))
        return [
            EmotionScores(tuple(0.94 if index == int(face.mean() // 20) - 3 else 0.01 for index in range(7)))
            for face in faces
        ]


class Scene:
    """A pipeline and a camera's view that a test paints."""

    def __init__(self, *cameras: str) -> None:
        names = cameras or ("hall",)
        config = Config(cameras=[CameraConfig(name=name) for name in names])
        self.search, self.classifier = DrawnFaces(), BrightnessClassifier()
        engine = AlertEngine([FEAR_RULE], names, zone=UTC)
        self.pipeline = Pipeline(config, new_search=lambda: self.search, classifier=self.classifier, engine=engine)
        self.now = 0.0

    @property
    def instant(self) -> Instant:
        return Instant(self.now, NOON + timedelta(seconds=self.now))

    def show(self, *faces: tuple[int, Emotion | None], camera: str = "hall", seconds: float = 0.1) -> list[Observation]:
        observations = []
        for _ in range(round(seconds / 0.1)):
            self.now += 0.1
            image = np.zeros((240, 640, 3), dtype=np.uint8)
            self.search.boxes = []
            for x, emotion in faces:
                self.search.boxes.append(BoundingBox(x, 50, 100, 100))
                if emotion is not None:  # None: a face in the dark
                    gray = 55 + 20 * EMOTIONS.index(emotion) + 30 * TEXTURE
                    image[50:150, x : x + 100] = gray[..., np.newaxis]
            frame = Frame(camera, image, self.instant.utc, self.now)
            observations.append(self.pipeline.process(frame))
        return observations


def test_a_face_becomes_a_person_with_an_emotion() -> None:
    *_, last = Scene().show((100, Emotion.HAPPY), seconds=1.0)
    (person,) = last.people
    assert person.scores.dominant is Emotion.HAPPY
    assert last.not_observed == 0
    assert last.tracks[0].track_id == person.track_id


def test_two_people_side_by_side_have_two_states() -> None:
    *_, last = Scene().show((50, Emotion.HAPPY), (400, Emotion.SAD), seconds=3.0)
    by_place = {track.box.x: track.track_id for track in last.tracks}
    dominant = {person.track_id: person.scores.dominant for person in last.people}
    assert dominant[by_place[50]] is Emotion.HAPPY
    assert dominant[by_place[400]] is Emotion.SAD
    for person in last.people:
        assert person.scores[person.scores.dominant] > 0.9


def test_all_faces_of_a_frame_go_through_the_classifier_at_once() -> None:
    scene = Scene()
    scene.show((50, Emotion.HAPPY), (250, Emotion.SAD), (450, Emotion.FEAR), seconds=0.5)
    assert scene.classifier.batches == [3, 3]  # the first frame only makes candidates, then every second one is due


def test_a_face_is_read_when_it_is_due_and_a_new_one_at_once() -> None:
    scene = Scene()
    scene.show((50, Emotion.HAPPY), seconds=0.6)
    assert scene.classifier.batches == [1, 1, 1]  # in the second, fourth and sixth frame
    scene.show((50, Emotion.HAPPY), (400, Emotion.SAD), seconds=0.2)
    assert scene.classifier.batches[3:] == [2]  # the new one is confirmed in its second frame


def test_a_face_that_wavers_between_two_emotions_is_read_more_often() -> None:
    scene = Scene()
    scene.show((50, Emotion.HAPPY), seconds=3.0)
    assert len(scene.classifier.batches) == 15
    wavers = False
    read_where: list[tuple[bool, bool]] = []
    for _ in range(40):
        before = len(scene.classifier.batches)
        (observation,) = scene.show((50, Emotion.SAD))
        read_where.append((wavers, len(scene.classifier.batches) > before))
        wavers = observation.people[0].scores.margin < UNDECIDED_MARGIN
    while_it_wavers = [read for wavered, read in read_where if wavered]
    assert len(while_it_wavers) >= 3
    assert all(while_it_wavers)
    assert sum(read for wavered, read in read_where if not wavered) < 25


def test_a_face_that_could_not_be_judged_is_looked_at_in_each_frame_until_it_can() -> None:
    scene = Scene()
    scene.show((100, Emotion.HAPPY), seconds=0.2)
    *_, dark = scene.show((100, None), seconds=0.4)
    assert [flaw for _, flaw in dark.flaws] == [Flaw.TOO_DARK]
    scene.show((100, Emotion.HAPPY), seconds=0.1)
    assert scene.classifier.batches == [1, 1]


def test_a_face_in_the_dark_is_not_observed_and_not_guessed_at() -> None:
    scene = Scene()
    *_, last = scene.show((100, None), seconds=1.0)
    assert last.people == ()
    assert last.not_observed == 1
    assert [flaw for _, flaw in last.flaws] == [Flaw.TOO_DARK]
    assert scene.classifier.batches == []


def test_a_face_that_is_missed_for_a_moment_stays_in_view() -> None:
    scene = Scene()
    scene.show((100, Emotion.SAD), seconds=1.0)
    *_, gone_for_a_second = scene.show(seconds=1.0)
    assert len(gone_for_a_second.people) == 1
    *_, gone = scene.show(seconds=2.0)
    assert (gone.people, gone.not_observed) == ((), 0)


def test_an_episode_starts_through_all_stages_and_ends_when_the_person_has_left() -> None:
    scene = Scene()
    events = [event for seen in scene.show((100, Emotion.FEAR), seconds=4.0) for event in seen.events]
    assert [event.change for event in events] == [EpisodeChange.STARTED]
    events = [event for seen in scene.show(seconds=12.0) for event in seen.events]
    assert [(event.change, event.episode.end_reason) for event in events] == [
        (EpisodeChange.ENDED, EndReason.OUT_OF_VIEW)
    ]


def test_cameras_do_not_share_people() -> None:
    scene = Scene("hall", "attic")
    *_, hall = scene.show((100, Emotion.HAPPY), seconds=1.0)
    *_, attic = scene.show((100, Emotion.SAD), camera="attic", seconds=1.0)
    assert hall.people[0].scores.dominant is Emotion.HAPPY
    assert attic.people[0].scores.dominant is Emotion.SAD
    assert attic.people[0].observed_seconds < 1.0


def test_a_pause_forgets_everybody_and_ends_their_episode() -> None:
    scene = Scene()
    scene.show((100, Emotion.FEAR), seconds=4.0)
    paused = CameraState("hall", CameraStatus.DISABLED, scene.instant.utc, "paused")
    (event,) = scene.pipeline.check_camera(paused, now=scene.instant)
    assert (event.change, event.episode.end_reason) == (EpisodeChange.ENDED, EndReason.CAMERA_DISABLED)
    *_, after = scene.show((100, Emotion.FEAR), seconds=1.0)
    assert after.people[0].observed_seconds < 1.0
    assert after.people[0].track_id == 2


def test_a_camera_that_stays_away_ends_the_episode_of_whom_it_saw() -> None:
    scene = Scene()
    scene.show((100, Emotion.FEAR), seconds=4.0)
    away = CameraState("hall", CameraStatus.RECONNECTING, scene.instant.utc, "unplugged")
    assert scene.pipeline.check_camera(away, now=scene.instant) == []
    scene.now += 11.0
    (event,) = scene.pipeline.check_camera(away, now=scene.instant)
    assert (event.change, event.episode.end_reason) == (EpisodeChange.ENDED, EndReason.OUT_OF_VIEW)
