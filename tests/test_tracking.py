from hypothesis import given
from hypothesis import strategies as st

from vire_edge.domain import BoundingBox, Detection
from vire_edge.tracking import Tracker


def make_tracker(**changes: float) -> Tracker:
    settings = {"min_hits": 2, "min_iou": 0.2, "remember_seconds": 10.0, "max_distance": 1.5} | changes
    return Tracker(
        "hall",
        min_hits=int(settings["min_hits"]),
        min_iou=settings["min_iou"],
        remember_seconds=settings["remember_seconds"],
        max_distance=settings["max_distance"],
    )


def face(x: int, y: int = 100, size: int = 80) -> Detection:
    return Detection(BoundingBox(x, y, size, size))


def test_a_single_hit_is_nobody() -> None:
    tracker = make_tracker()
    assert tracker.update([face(100)], now=0.0) == []
    assert tracker.update([], now=0.1) == []
    for step in range(2, 12):
        assert tracker.update([], now=step / 10) == []
    assert tracker.update([face(100)], now=1.2) == []


def test_a_face_is_followed_at_one_frame_in_two_seconds() -> None:
    tracker = make_tracker()
    seen = [tracker.update([face(100)], now=2.0 * frame) for frame in range(5)]
    assert [len(tracks) for tracks in seen] == [0, 1, 1, 1, 1]


def test_a_face_that_is_found_again_becomes_a_track_and_keeps_its_id_while_it_moves() -> None:
    tracker = make_tracker()
    tracker.update([face(100)], now=0.0)
    ids = {track.track_id for step in range(1, 50) for track in tracker.update([face(100 + 8 * step)], now=step / 10)}
    assert ids == {1}


def test_two_people_side_by_side_keep_their_own_ids() -> None:
    tracker = make_tracker()
    seen = []
    for step in range(40):
        order = [face(100 + step), face(400 - step)]
        tracks = tracker.update(order if step % 2 else order[::-1], now=step / 10)
        seen.append({track.track_id: track.box.x for track in tracks})
    left, right = sorted(seen[-1], key=lambda track_id: seen[-1][track_id])
    assert all(state[left] < state[right] for state in seen[1:])
    assert len(seen[-1]) == 2


def test_a_face_that_was_lost_for_a_moment_is_the_same_when_it_reappears_nearby() -> None:
    tracker = make_tracker()
    for step in range(3):
        tracker.update([face(100)], now=step / 10)
    for step in range(3, 50):
        assert tracker.update([], now=step / 10) == []
    (track,) = tracker.update([face(190)], now=5.0)
    assert track.track_id == 1
    assert track.first_seen == 0.0


def test_after_too_long_it_is_somebody_else() -> None:
    tracker = make_tracker()
    for step in range(3):
        tracker.update([face(100)], now=step / 10)
    tracker.update([face(100)], now=20.0)
    (track,) = tracker.update([face(100)], now=20.1)
    assert track.track_id == 2


def test_nobody_is_merged_on_a_guess_when_two_lost_faces_could_be_meant() -> None:
    tracker = make_tracker()
    for step in range(3):
        tracker.update([face(100), face(260)], now=step / 10)
    tracker.update([face(180)], now=3.0)
    (track,) = tracker.update([face(180)], now=3.1)
    assert track.track_id == 3


def test_a_face_of_quite_another_size_is_not_the_lost_one() -> None:
    tracker = make_tracker()
    for step in range(3):
        tracker.update([face(100, size=160)], now=step / 10)
    assert tracker.update([face(280, size=60)], now=1.0) == []


def test_a_passer_by_keeps_the_id_where_somebody_else_was_lost() -> None:
    tracker = make_tracker()
    for step in range(3):
        tracker.update([face(300), face(0)], now=step / 10)
    ids = set()
    for step in range(3, 30):
        (walker,) = tracker.update([face(22 * (step - 2))], now=step / 10)
        ids.add(walker.track_id)
    assert ids == {2}


def test_somebody_far_away_is_not_the_one_who_left_however_long_ago() -> None:
    tracker = make_tracker()
    for step in range(3):
        tracker.update([face(20)], now=step / 10)
    tracker.update([face(560, y=300)], now=9.0)
    (track,) = tracker.update([face(560, y=300)], now=9.1)
    assert track.track_id == 2


def test_reset_forgets_everybody_and_never_reuses_an_id() -> None:
    tracker = make_tracker(min_hits=1)
    tracker.update([face(100)], now=0.0)
    tracker.reset()
    assert tracker.remembered == frozenset()
    (track,) = tracker.update([face(100)], now=0.1)
    assert track.track_id == 2


boxes = st.builds(face, st.integers(0, 600), st.integers(0, 400), st.integers(20, 200))


@given(st.lists(st.lists(boxes, max_size=5), max_size=30))
def test_each_detection_belongs_to_at_most_one_track(frames: list[list[Detection]]) -> None:
    tracker = make_tracker(min_hits=1)
    for index, detections in enumerate(frames):
        tracks = tracker.update(detections, now=index / 10)
        ids = [track.track_id for track in tracks]
        assert len(set(ids)) == len(ids) == len(detections)
        assert sorted((t.box.x, t.box.y, t.box.width) for t in tracks) == sorted(
            (d.box.x, d.box.y, d.box.width) for d in detections
        )
        assert set(ids) <= tracker.remembered
