from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import typer
from typer.testing import CliRunner, Result

from vire_edge.camera import Script, Step, SyntheticSource
from vire_edge.cli.classify import classify
from vire_edge.cli.classify.draw import annotate
from vire_edge.cli.classify.look import Face, View
from vire_edge.cli.classify.report import Tables
from vire_edge.domain import EMOTIONS, BoundingBox, Emotion, EmotionScores, FaceView
from vire_edge.errors import CameraError, ConfigError, StorageError
from vire_edge.quality import Flaw

CLIP = Path(__file__).parents[2] / "shared/data/video/head-pose-face-detection-female.gif"


@pytest.fixture(autouse=True)
def no_configuration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "config.toml").touch()
    monkeypatch.setenv("VIRE_EDGE_CONFIG", str(tmp_path / "config.toml"))


def invoke(*arguments: str | Path) -> Result:
    app = typer.Typer()
    app.command()(classify)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def run(*arguments: str | Path) -> str:
    result = invoke(*arguments)
    assert result.exit_code == 0, (result.output, result.exception)
    return result.stdout


def objects(*arguments: str | Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run("--json", *arguments).splitlines()]


@pytest.fixture
def happy(tmp_path: Path) -> Path:
    path = tmp_path / "happy.png"
    cv2.imwrite(str(path), SyntheticSource(Script.solo((10.0, Emotion.HAPPY))).image_at(5.0))
    return path


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    path = tmp_path / "room.png"
    cv2.imwrite(str(path), SyntheticSource(Script.solo((10.0, None))).image_at(5.0))
    return path


def make_video(path: Path) -> Path:
    """Two seconds of two people, 10 frames a second."""
    source = SyntheticSource(Script(((Step(2.0, Emotion.HAPPY),), (Step(2.0, Emotion.SURPRISE),))))
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (640, 480))
    for index in range(20):
        writer.write(source.image_at(index / 10))
    writer.release()
    return path


# --- what is read -------------------------------------------------------------------------------


def test_a_picture_gives_one_json_object_with_boxes_and_all_scores(happy: Path) -> None:
    (found,) = objects(happy)
    assert (found["file"], found["width"], found["height"]) == (str(happy), 640, 480)
    (face,) = found["faces"]
    assert face["observed"] is True
    assert face["dominant"] == "happy"
    assert face["view"] == "frontal"
    assert set(face["scores"]) == {emotion.value for emotion in EMOTIONS}
    assert sum(face["scores"].values()) == pytest.approx(1.0, abs=0.001)
    assert abs(face["box"]["x"] + face["box"]["width"] / 2 - 320) < 60


def test_a_face_that_cannot_be_judged_says_why(happy: Path, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("[quality]\nmin_brightness = 250\n")
    (found,) = objects(happy)
    (face,) = found["faces"]
    assert face["observed"] is False
    assert face["reason"] == "too dark"
    assert "scores" not in face
    assert "not observed (too dark)" in run(happy)


def test_a_video_gives_an_object_for_each_frame_and_follows_each_person(tmp_path: Path) -> None:
    frames = objects(make_video(tmp_path / "two.avi"))
    assert [frame["frame"] for frame in frames] == list(range(20))
    assert frames[10]["seconds"] == pytest.approx(1.0)
    read = {(face["track_id"], face["dominant"]) for frame in frames[5:] for face in frame["faces"] if face["observed"]}
    assert {emotion for _, emotion in read} == {"happy", "surprise"}
    assert len(read) == 2  # two people, each with one emotion throughout: nothing is mixed


def test_plain_lines_sum_a_video_up_by_person(tmp_path: Path) -> None:
    video = make_video(tmp_path / "two.avi")
    lines = run(video).splitlines()
    assert len(lines) == 2
    assert all(line.startswith(f"{video}: person ") for line in lines)
    assert any(line.endswith("happy 100%") for line in lines)
    assert any(line.endswith("surprise 100%") for line in lines)


def test_a_folder_is_its_pictures_and_an_empty_room_has_no_face(happy: Path, empty: Path, tmp_path: Path) -> None:
    lines = run(tmp_path).splitlines()
    assert lines[0].startswith(f"{happy}: face 1 at ")
    assert ": happy " in lines[0]
    assert lines[1] == f"{empty}: no face found"


def test_real_footage_is_read_too() -> None:
    assert f"{CLIP}: person 1, " in run(CLIP)


def test_profiles_are_looked_for_on_request(happy: Path) -> None:
    (found,) = objects(happy, "--profile")
    assert len(found["faces"]) == 1


# --- what is written ----------------------------------------------------------------------------


def test_the_annotated_picture_shows_more_than_the_picture(happy: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jpg"
    assert f"written: {out}" in run(happy, "--out", out)
    before, after = cv2.imread(str(happy)), cv2.imread(str(out))
    assert before is not None
    assert after is not None
    assert before.shape == after.shape
    assert np.count_nonzero(np.abs(before.astype(int) - after) > 60) > 5_000


@pytest.mark.parametrize("name", ["out.mp4", "out.avi"])
def test_the_annotated_video_has_all_frames_at_their_rate(name: str, tmp_path: Path) -> None:
    out = tmp_path / name
    result = objects(make_video(tmp_path / "two.avi"), "--out", out)
    assert len(result) == 20
    video = cv2.VideoCapture(str(out))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == 20
    assert video.get(cv2.CAP_PROP_FPS) == pytest.approx(10, abs=0.1)
    video.release()


def test_several_are_written_to_a_folder(happy: Path, empty: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "folder"
    run(happy, empty, CLIP, "-o", out)
    assert {path.name for path in out.iterdir()} == {f"{CLIP.stem}.mp4", "happy.png", "room.png"}


def scores(emotion: Emotion) -> EmotionScores:
    return EmotionScores(tuple(0.7 if other is emotion else 0.05 for other in EMOTIONS))


@pytest.mark.parametrize("shape", [(48, 48), (48, 48, 3), (480, 640, 3), (1080, 200, 3), (20, 900)])
@pytest.mark.parametrize("box", [(0, 0, 48, 48), (-10, -10, 60, 60), (30, 5, 10, 10), (0, 0, 5000, 5000)])
def test_boxes_of_any_size_and_place_can_be_drawn_and_small_pictures_are_enlarged(
    shape: tuple[int, ...], box: tuple[int, int, int, int]
) -> None:
    place = BoundingBox(*box)
    faces = (
        Face(place, FaceView.FRONTAL, scores(Emotion.FEAR), None, 1),
        Face(place, FaceView.FRONTAL, None, Flaw.TOO_DARK),
        Face(place, FaceView.FRONTAL, None, None, 2),
    )
    drawn = annotate(View(np.full(shape, 90, np.uint8), faces))
    assert drawn.ndim == 3
    assert min(drawn.shape[:2]) >= 320
    assert drawn.shape[0] % shape[0] == drawn.shape[1] % shape[1] == 0


def test_tables_show_pictures_by_face_and_videos_by_person(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "140")
    box, image = BoundingBox(1, 2, 30, 30), np.zeros((48, 48, 3), np.uint8)
    tables = Tables()
    tables.begin(Path("photo.png"), video=False)
    read = Face(box, FaceView.LEFT_PROFILE, scores(Emotion.FEAR), None)
    tables.tell(Path("photo.png"), View(image, (read, Face(box, FaceView.FRONTAL, None, Flaw.TOO_SMALL))))
    tables.end(Path("photo.png"))
    tables.begin(Path("film.mp4"), video=True)
    for frame in range(3):
        face = Face(box, FaceView.FRONTAL, scores(Emotion.SAD), None, track_id=7, interval_seconds=0.5)
        tables.tell(Path("film.mp4"), View(image, (face,), frame, frame / 2))
    tables.end(Path("film.mp4"))
    tables.begin(Path("empty.png"), video=False)
    tables.end(Path("empty.png"))
    shown = capsys.readouterr().out
    for words in ("70%", "left profile", "not observed", "film.mp4 · 3 frames", "sad 100%", "empty.png: no face found"):
        assert words in " ".join(shown.split())


# --- what goes wrong ----------------------------------------------------------------------------


def failure(*arguments: str | Path) -> BaseException:
    result = invoke(*arguments)
    assert result.exit_code != 0
    assert result.exception is not None
    assert "\n" not in str(result.exception)
    return result.exception


def test_what_cannot_be_looked_at_is_named(tmp_path: Path) -> None:
    text, damaged, folder = tmp_path / "text.mp4", tmp_path / "damaged.png", tmp_path / "folder"
    text.write_text("no video")
    damaged.write_bytes(b"\x89PNG no picture")
    folder.mkdir()
    for path, message in (
        (tmp_path / "nothing.png", "does not exist; name a picture"),
        (text, "is no picture or video"),
        (damaged, "is no picture"),
        (folder, "has no pictures (.bmp, .jpeg, .jpg, .pgm, .png, .ppm, .tif, .tiff, .webp); name a video itself"),
    ):
        error = failure(path)
        assert isinstance(error, CameraError)
        assert str(path) in str(error)
        assert message in str(error)


def test_a_stream_is_sent_to_the_daemon_without_its_password() -> None:
    error = failure("rtsp://admin:secret@camera.local/stream")
    assert isinstance(error, ConfigError)
    assert str(error) == (
        "rtsp://camera.local/stream is a stream, and classify takes files; for a stream use: vire-edge run --source URL"
    )


def test_nothing_is_looked_at_before_all_inputs_are_known_to_be_there(happy: Path, tmp_path: Path) -> None:
    result = invoke("--json", happy, tmp_path / "nothing.png")
    assert isinstance(result.exception, CameraError)
    assert result.stdout == ""


def test_an_output_that_cannot_be_written_is_named(happy: Path, tmp_path: Path) -> None:
    for out in (tmp_path / "no" / "such" / "out.png", Path("/proc/out.png")):
        error = failure(happy, "--out", out)
        assert isinstance(error, StorageError)
        assert str(out) in str(error)
    assert isinstance(failure(CLIP, "--out", tmp_path / "no" / "out.mp4"), StorageError)
    assert isinstance(failure(happy, happy.parent, "--out", happy), StorageError)  # a file is no folder


def test_an_output_of_the_wrong_kind_or_over_the_input_is_refused(happy: Path, tmp_path: Path) -> None:
    assert "is written as .jpeg, .jpg, .png" in str(failure(happy, "--out", tmp_path / "out.mp4"))
    assert "is written as .avi, .mp4" in str(failure(CLIP, "--out", tmp_path / "out.gif"))
    assert "is the input itself" in str(failure(happy, "--out", happy))
    assert isinstance(failure(happy, happy, "--out", tmp_path / "folder"), ConfigError)
