from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fer2013_samples import HEADER, fer_plus_csv, patterns, row, tiny_csv, write_classes
from rich.console import Console

from vire_edge.cli.training.progress import Reporter
from vire_edge.errors import DatasetError
from vire_edge.training.data.dataset import Faces
from vire_edge.training.data.material import gather
from vire_edge.training.data.targets import VotesAs
from vire_edge.training.progress import BatchDone, Reading, Stage
from vire_edge.training.recipes import recipe_for
from vire_edge.training.settings import TrainSettings


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


class Log:
    """What a reporter writes where no terminal is, at times of one's choice."""

    def __init__(self) -> None:
        self.now = 0.0
        self._file = io.StringIO()
        self.report = Reporter(Console(file=self._file, soft_wrap=True), clock=lambda: self.now)

    @property
    def lines(self) -> list[str]:
        return self._file.getvalue().splitlines()


def batch(number: int) -> BatchDone:
    return BatchDone(2, 30, number, 200, images_per_second=180.4, loss=1.5, accuracy=0.25)


def test_log_gets_a_line_a_minute_while_an_epoch_goes_on_and_no_more() -> None:
    log = Log()
    for second in range(121):
        log.now = float(second)
        log.report(batch(second + 1))
    assert log.lines == [
        "epoch 2/30, batch 61/200: 180 images/s · loss 1.500 · accuracy 0.250",
        "epoch 2/30, batch 121/200: 180 images/s · loss 1.500 · accuracy 0.250",
    ]


def test_log_tells_of_slow_reading_and_of_each_stage() -> None:
    log = Log()
    log.report(Stage("reading the data"))
    log.report(Reading(1000))
    log.now = 60.0
    log.report(Reading(2000))
    log.report(Stage("exporting"))
    assert log.lines == ["reading the data …", "reading: 2000 images", "exporting …"]


def own_faces(folder: Path, labels: set[int], count: int) -> TrainSettings:
    images, all_labels = patterns(7, count)
    chosen = np.isin(all_labels, list(labels))
    mine = write_classes(folder / "mine", Faces(images[chosen], np.array(all_labels)[chosen]))
    return TrainSettings(None, folder / "run", faces=mine)


def test_classes_without_pictures_and_figures_of_few_faces_are_warned_of(tmp_path: Path) -> None:
    log = Log()
    ready = gather(own_faces(tmp_path, {2, 3, 4, 5, 6}, 10)).ready
    log.report(ready)
    assert (ready.held_out, ready.evaluated < 50) == (5, True)
    assert log.lines[-2:] == [
        "WARNING: no picture of angry, disgust: a new network won't learn it, a trained one may forget it",
        f"WARNING: calibrated on 5 faces and measured on {ready.evaluated}; below about 50 the figures mean nothing",
    ]


def test_enough_faces_of_every_class_are_not_warned_of(tmp_path: Path) -> None:
    ready = gather(TrainSettings(tiny_csv(tmp_path), tmp_path / "run")).ready
    assert replace(ready, held_out=50, evaluated=50).doubts == []
    assert len(replace(ready, held_out=49, evaluated=50).doubts) == 1


def test_a_single_class_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r'mine holds pictures of "happy" alone; .*add pictures of another'):
        gather(own_faces(tmp_path, {3}, 10))


def test_images_that_the_recipe_left_out_are_accounted_for(tmp_path: Path) -> None:
    path = tiny_csv(tmp_path)
    images, labels = patterns(1, 12)
    path.write_text(path.read_text() + row(labels[0], images[0]) + "\n" + row(3, np.zeros((48, 48), np.uint8)) + "\n")
    log = Log()
    ready = gather(TrainSettings(path, tmp_path / "run")).ready
    log.report(ready)
    assert ready.left_out == 2
    assert ready.learnt + ready.held_out + ready.left_out == 86
    assert sum(ready.learnt_per_class) == ready.learnt
    assert "PublicTest 21; 2 left out: repeats, blank, of conflicting labels or measured on" in log.lines[3]
    alone = gather(replace(own_faces(tmp_path, {3, 4}, 10), recipe=recipe_for("paper-1", "cnn"))).ready
    assert (alone.left_out, alone.learnt + alone.held_out + alone.evaluated) == (0, 20)


def test_class_of_which_the_votes_leave_one_image_is_told_with_what_they_left_out(tmp_path: Path) -> None:
    images, labels = patterns(1, 2)
    lines = [row(label, image) for image, label in zip(images, labels, strict=True)]
    path = tmp_path / "fer2013.csv"
    path.write_text("\n".join([HEADER, *lines, row(0, patterns(2, 1)[0][0], "PublicTest")]))
    votes = fer_plus_csv(tmp_path, labels)
    rows = votes.read_text().splitlines()
    rows[1] = "Training,fer0.png,5,5,0,0,0,0,0,0,0,0"
    votes.write_text("\n".join(rows))
    asked = TrainSettings(path, tmp_path / "run", fer_plus=votes, fer_plus_as=VotesAs.MAJORITY)
    with pytest.raises(DatasetError) as raised:
        gather(asked)
    assert 'only one training image is "angry"' in str(raised.value)
    assert "of 14 images FER+'s votes, taken as majority, left out 0 that show no face and 1 undecided ones" in str(
        raised.value
    )
