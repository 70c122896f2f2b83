from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fer2013_samples import HEADER, fer_plus_csv, patterns, row, tiny_csv, write_classes, write_folders
from run_samples import REPEATS, csv_with_repeats

from vire_edge.domain import EMOTIONS
from vire_edge.errors import DatasetError, TrainingError
from vire_edge.training.data import cleaning
from vire_edge.training.data.batches import Batches
from vire_edge.training.data.dataset import Dataset, Faces, Split, load
from vire_edge.training.data.material import gather
from vire_edge.training.data.targets import VotesAs
from vire_edge.training.recipes import recipe_for
from vire_edge.training.settings import TrainSettings

VOTING = recipe_for("best", "vire")
LABELS_ONLY = recipe_for("default", "cnn")
PUBLISHED = recipe_for("paper-1", "cnn")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def faces(seed: int, per_class: int) -> Faces:
    images, labels = patterns(seed, per_class)
    return Faces(images, np.array(labels, np.int64))


def own_folder(folder: Path, *, per_class: int = 10) -> Path:
    return write_classes(folder / "mine", faces(7, per_class))


def settings(folder: Path, **changes: object) -> TrainSettings:
    return replace(TrainSettings(tiny_csv(folder), folder / "run", recipe=LABELS_ONLY), **changes)  # type: ignore[arg-type]


def test_training_labels_follow_the_majority_and_the_evaluation_keeps_its_own(tmp_path: Path) -> None:
    labels = patterns(1, 12)[1]
    votes = fer_plus_csv(tmp_path, [(label + 1) % 7 for label in labels])
    plain = gather(settings(tmp_path))
    relabelled = gather(settings(tmp_path, fer_plus=votes, fer_plus_as=VotesAs.MAJORITY))
    both = relabelled.learn.followed_by(relabelled.held_out)
    before = dict(zip(cleaning.keys(plain.training), plain.training.labels.tolist(), strict=True))
    assert all(
        (before[key] + 1) % 7 == label for key, label in zip(cleaning.keys(both), both.labels.tolist(), strict=True)
    )
    assert len(both) == 84
    assert both.votes is None
    assert relabelled.evaluation.digest() == plain.evaluation.digest()


def test_soft_votes_are_the_whole_target_in_every_epoch(tmp_path: Path) -> None:
    votes = fer_plus_csv(tmp_path, patterns(1, 12)[1])
    soft = settings(tmp_path, recipe=replace(VOTING, epochs=1, mixup=0.0, calm=1.0), fer_plus=votes)
    soft = replace(soft, fer_plus_as=VotesAs.SOFT)
    batches = Batches(gather(soft).learn, soft.effective_recipe, seed=1)
    targets = batches[0][1]
    # Seven votes for the label and two for neutral; the tenth is for none of the classes.
    neutral, others = targets[targets[:, 6] > 0.5], targets[targets[:, 6] < 0.5]
    np.testing.assert_allclose(neutral.max(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(others.max(axis=1), 7 / 9, atol=1e-6)
    mixed = replace(soft, fer_plus_as=VotesAs.MIXED)
    np.testing.assert_allclose(Batches(gather(mixed).learn, mixed.effective_recipe, seed=1)[0][1].max(axis=1), 1)


@pytest.mark.parametrize("how", [VotesAs.SOFT, VotesAs.MAJORITY])
def test_recipe_without_votes_takes_them_as_targets_but_not_mixed(tmp_path: Path, how: VotesAs) -> None:
    asked = settings(tmp_path, fer_plus=fer_plus_csv(tmp_path, patterns(1, 12)[1]), fer_plus_as=how)
    assert gather(asked).ready.with_votes == (how is VotesAs.SOFT)
    with pytest.raises(TrainingError, match=r"takes nothing from FER\+.*--fer-plus-as soft or majority"):
        gather(replace(asked, fer_plus_as=VotesAs.MIXED))


def test_votes_are_refused_beside_pictures_without_the_files_order(tmp_path: Path) -> None:
    table = tiny_csv(tmp_path)
    folder = write_folders(tmp_path / "folders", load(table))
    asked = settings(tmp_path, data=folder, fer_plus=fer_plus_csv(tmp_path, patterns(1, 12)[1]), recipe=VOTING)
    with pytest.raises(DatasetError, match=r"rows in fer2013\.csv, which .*folders do not have; .* leave out"):
        gather(asked)


def test_leaks_are_dropped_on_request_where_the_recipe_does_not_clean(tmp_path: Path) -> None:
    images, labels = patterns(1, 3)
    lines = [HEADER, *(row(label, image) for image, label in zip(images, labels, strict=True))]
    lines += [row(labels[0], images[0]), row(labels[4], images[4], "PublicTest"), row(2, images[7], "PublicTest")]
    path = tmp_path / "fer2013.csv"
    path.write_text("\n".join(lines))
    asked = TrainSettings(path, tmp_path / "run", recipe=PUBLISHED)
    kept, dropped = gather(asked), gather(replace(asked, drop_leaks=True))
    assert kept.ready.findings == dropped.ready.findings
    assert (kept.ready.findings.leaks, kept.ready.findings.repeats) == (2, 1)
    distinct = [len(set(cleaning.keys(found.learn.followed_by(found.held_out)))) for found in (kept, dropped)]
    assert distinct == [21, 19]
    assert not cleaning.repeats_of(kept.learn, kept.held_out).any()
    assert not cleaning.repeats_of(dropped.learn, dropped.evaluation).any()


def test_recipe_that_cleans_neither_learns_nor_calibrates_with_images_of_public_test(tmp_path: Path) -> None:
    material = gather(replace(settings(tmp_path), data=csv_with_repeats(tmp_path)))
    used = material.learn.followed_by(material.held_out)
    assert not cleaning.repeats_of(used, material.evaluation).any()
    assert (len(used), material.ready.left_out) == (14 - REPEATS, REPEATS)
    assert cleaning.repeats_of(material.evaluation, material.training).sum() == REPEATS, "what the figures leave out"


def test_own_faces_are_repeated_and_a_fifth_of_each_class_is_set_aside(tmp_path: Path) -> None:
    plain = gather(settings(tmp_path))
    material = gather(settings(tmp_path, faces=own_folder(tmp_path), faces_repeats=3))
    assert material.own is not None
    aside = np.bincount(material.own.labels)
    assert ((aside >= 1) & (aside <= 5)).all()
    mine = material.learn.take(np.arange(len(plain.learn), len(material.learn)))
    learnt = 70 - len(material.own)
    assert len(mine) == 3 * learnt
    assert len(set(cleaning.keys(mine))) == learnt
    assert not cleaning.repeats_of(mine, material.own).any()
    assert material.held_out.digest() == plain.held_out.digest()
    assert material.learn.take(np.arange(len(plain.learn))).order_digest() == plain.learn.order_digest()
    assert material.ready.own is not None
    assert (material.ready.own.learnt, material.ready.own.set_aside, material.ready.own.has_test) == (
        learnt,
        len(material.own),
        False,
    )


def test_pictures_that_come_later_change_nothing_about_those_set_aside() -> None:
    some, more = faces(7, 40), faces(7, 60)
    learnt, aside = cleaning.set_aside(some, 0.2, left=1)
    assert 30 < len(aside) < 80
    learnt_later, aside_later = cleaning.set_aside(more, 0.2, left=1)
    assert not cleaning.repeats_of(aside_later, learnt).any()
    assert not cleaning.repeats_of(aside, learnt_later).any()


def test_own_faces_that_stand_in_fer2013_are_not_both_learnt_and_measured(tmp_path: Path) -> None:
    data = settings(tmp_path).data
    assert data is not None
    mine = Dataset({Split.TRAINING: load(data)[Split.TRAINING]})
    material = gather(settings(tmp_path, faces=write_folders(tmp_path / "mine", mine)))
    assert material.own is not None
    assert not cleaning.repeats_of(material.own, material.learn).any()
    assert not cleaning.repeats_of(material.held_out, material.learn).any()


def test_own_test_folder_is_what_is_set_aside_and_never_learnt_from(tmp_path: Path) -> None:
    mine = Dataset({Split.TRAINING: faces(7, 3), Split.PUBLIC_TEST: faces(7, 3).take(np.arange(0, 21, 3))})
    material = gather(settings(tmp_path, faces=write_folders(tmp_path / "mine", mine)))
    assert material.own is not None
    assert material.own.digest() == mine[Split.PUBLIC_TEST].digest()
    assert not cleaning.repeats_of(material.learn, material.own).any()
    assert material.ready.own is not None
    assert (material.ready.own.learnt, material.ready.own.findings.leaks) == (14, 7)


def test_own_faces_beside_votes_are_learnt_by_their_labels(tmp_path: Path) -> None:
    votes = fer_plus_csv(tmp_path, patterns(1, 12)[1])
    material = gather(settings(tmp_path, recipe=VOTING, fer_plus=votes, faces=own_folder(tmp_path), faces_repeats=1))
    assert material.learn.votes is not None
    assert material.ready.own is not None
    mine = material.ready.own.learnt
    last = material.learn.votes[-mine:]
    assert (last.max(axis=1) == 1).all()
    assert np.array_equal(last.argmax(axis=1), material.learn.labels[-mine:])


def test_own_faces_alone_give_a_tenth_to_measure_on(tmp_path: Path) -> None:
    material = gather(settings(tmp_path, data=None, faces=own_folder(tmp_path)))
    evaluated, held_out, learnt = (
        np.bincount(part.labels) for part in (material.evaluation, material.held_out, material.learn)
    )
    assert (evaluated >= 1).all()
    assert held_out.tolist() == [1] * 7
    assert (evaluated + learnt).tolist() == [9] * 7
    assert not cleaning.repeats_of(material.evaluation, material.training).any()
    parts = material.learn.followed_by(material.held_out).followed_by(material.evaluation)
    assert parts.digest() == faces(7, 10).digest()
    assert material.own is None
    assert material.ready.evaluated_on == "own faces"


def test_own_faces_alone_are_measured_on_their_test_folder(tmp_path: Path) -> None:
    mine = Dataset({Split.TRAINING: faces(7, 4), Split.PUBLIC_TEST: faces(8, 2)})
    material = gather(settings(tmp_path, data=None, faces=write_folders(tmp_path / "mine", mine)))
    assert material.evaluation.digest() == mine[Split.PUBLIC_TEST].digest()
    assert material.learn.followed_by(material.held_out).digest() == mine[Split.TRAINING].digest()


def test_class_that_the_user_has_no_pictures_of_is_allowed(tmp_path: Path) -> None:
    happy = faces(7, 8).take(np.arange(24, 48))
    folder = write_classes(tmp_path / "mine", happy)
    material = gather(settings(tmp_path, data=None, faces=folder))
    assert set(material.learn.labels.tolist()) == {3, 4, 5}
    assert material.ready.findings.per_class == (0, 0, 0, 8, 8, 8, 0)


@pytest.mark.parametrize(("alone", "count", "needed"), [(True, 2, 3), (False, 1, 2)])
def test_too_few_pictures_of_a_class_are_named(tmp_path: Path, alone: bool, count: int, needed: int) -> None:
    folder = write_classes(tmp_path / "mine", faces(7, 5).take(np.arange(5 - count, 35)))
    changes = {"data": None} if alone else {}
    message = rf'mine holds {count} usable pictures of "{EMOTIONS[0]}", at least {needed} are needed'
    with pytest.raises(DatasetError, match=message):
        gather(settings(tmp_path, faces=folder, **changes))


def test_pictures_that_are_all_the_same_leave_nothing_to_learn_from(tmp_path: Path) -> None:
    gray = Faces(np.full((6, 48, 48), 90, np.uint8), np.array([3] * 6))
    asked = settings(tmp_path, data=None, faces=write_classes(tmp_path / "mine", gray))
    for recipe in (LABELS_ONLY, PUBLISHED):
        with pytest.raises(DatasetError, match="mine holds no usable pictures"):
            gather(replace(asked, recipe=recipe))


def test_nothing_to_learn_from_and_votes_without_their_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"nothing to learn from; .*--data, .*--faces"):
        gather(settings(tmp_path, data=None))
    with pytest.raises(TrainingError, match=r"FER\+ votes on FER2013; name its file"):
        gather(settings(tmp_path, data=None, faces=own_folder(tmp_path), fer_plus=tmp_path / "votes.csv"))


def test_reading_is_told_of_while_it_goes_on(tmp_path: Path) -> None:
    counts: list[int] = []
    asked = replace(settings(tmp_path), data=tiny_csv(tmp_path, per_class=150))
    gather(asked, on_row=counts.append)
    assert counts == [1000]
    gather(asked, on_row=counts.append)
    assert counts == [1000]  # from the cache


def test_what_stands_twice_in_the_evaluation_is_said() -> None:
    twice = faces(2, 1).followed_by(faces(2, 1)).followed_by(Faces(np.zeros((1, 48, 48), np.uint8), np.array([0])))
    found = cleaning.inspect(faces(1, 2), twice)
    assert (found.evaluation_repeats, found.evaluation_blank, found.leaks) == (7, 1, 0)


def test_recorded_command_names_what_was_learnt_from(tmp_path: Path) -> None:
    asked = settings(tmp_path, recipe=None)
    asked = replace(asked, fer_plus=Path("a/votes.csv"), fer_plus_as=VotesAs.SOFT, faces=Path("b/mine"))
    start = "vire-edge train --data fer2013.csv --fer-plus votes.csv --fer-plus-as soft --faces mine"
    assert replace(asked, faces_repeats=4, drop_leaks=True).command == (
        f"{start} --faces-repeats 4 --drop-leaks --arch cnn --preset default --seed 1"
    )
    assert asked.command == f"{start} --arch cnn --preset default --seed 1"
    assert "--data" not in replace(asked, data=None, fer_plus=None).command
