from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fer2013_samples import FER_PLUS, fer_plus_csv, patterns, real_fer2013

from vire_edge.domain import EMOTIONS
from vire_edge.errors import DatasetError
from vire_edge.training.data.dataset import Faces, Split
from vire_edge.training.data.fer_plus import Votes, annotate, read_votes, with_votes
from vire_edge.training.data.targets import VotesAs

HEADER = "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"


def table(folder: Path, *rows: str) -> Path:
    path = folder / "fer2013new.csv"
    path.write_text("\n".join([HEADER, *rows]) + "\n")
    return path


def faces(*labels: int) -> Faces:
    return Faces(np.zeros((len(labels), 48, 48), np.uint8), np.array(labels))


def test_votes_come_in_the_order_of_our_classes_and_of_one_split_only(tmp_path: Path) -> None:
    votes = read_votes(
        table(
            tmp_path,
            "Training,fer0.png,4,0,0,1,3,2,0,0,0,0",
            "PublicTest,fer1.png,10,0,0,0,0,0,0,0,0,0",
            "Training,fer2.png,0,1,2,0,0,0,7,0,0,0",
        ),
        Split.TRAINING,
    )
    assert [str(emotion) for emotion in EMOTIONS] == ["angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"]
    expected = np.array([[0.3, 0.2, 0, 0, 0.1, 0, 0.4], [0, 0, 0.7, 0.1, 0, 0.2, 0]])
    np.testing.assert_allclose(votes.shares, expected, atol=1e-6)
    assert votes.faceless.tolist() == [False, False]


def test_votes_for_none_of_the_classes_count_for_the_label(tmp_path: Path) -> None:
    path = table(tmp_path, "Training,a.png,2,0,0,0,0,0,0,5,3,0", "Training,b.png,0,0,0,0,0,0,0,0,9,0")
    seen = with_votes(faces(4, 1), read_votes(path, Split.TRAINING)).votes
    assert seen is not None
    expected = np.array([[0, 0, 0, 0, 0.8, 0, 0.2], [0, 1, 0, 0, 0, 0, 0]])
    np.testing.assert_allclose(seen, expected, atol=1e-6)


def test_image_without_a_name_or_with_most_votes_for_no_face_is_faceless(tmp_path: Path) -> None:
    path = table(
        tmp_path,
        "Training,,0,0,0,0,0,0,0,0,0,10",
        "Training,b.png,3,0,0,0,0,0,0,0,2,5",
        "Training,c.png,5,0,0,0,0,0,0,0,1,4",
    )
    assert read_votes(path, Split.TRAINING).faceless.tolist() == [True, True, False]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["Training,a.png,1,0,0,0,x,0,0,0,0,9"], r'line 2: anger must be a number of votes, got "x"'),
        (["Training,a.png,1,0,0,0,0,0,0,0,9,0", "Training,b.png,1,0"], r'line 3: anger must be .* got ""'),
        (["Training,a.png,0,0,0,0,0,0,0,0,0,0"], "line 2: there is no vote"),
        (["Training,a.png,-1,0,0,0,0,0,0,0,0,9"], 'line 2: neutral must be .* got "-1"'),
    ],
)
def test_broken_row_is_named_with_its_line(tmp_path: Path, rows: list[str], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        read_votes(table(tmp_path, *rows), Split.TRAINING)


@pytest.mark.parametrize("content", [b"", b"a,b\n1,2\n", b"\xff\xfe\x00"])
def test_other_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other.csv"
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=r"other\.csv.*fer2013new\.csv"):
        read_votes(path, Split.TRAINING)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"votes\.csv cannot be read"):
        read_votes(tmp_path / "votes.csv", Split.TRAINING)


def test_votes_on_another_number_of_images_are_refused(tmp_path: Path) -> None:
    votes = read_votes(fer_plus_csv(tmp_path, patterns(1, 2)[1]), Split.TRAINING)
    with pytest.raises(DatasetError, match="votes on 14 images where FER2013 has 2"):
        with_votes(faces(0, 1), votes)


def test_digest_tells_whether_votes_are_learnt_from(tmp_path: Path) -> None:
    labels = patterns(1, 2)[1]
    voted = with_votes(faces(*labels), read_votes(fer_plus_csv(tmp_path, labels), Split.TRAINING))
    assert voted.digest() != faces(*labels).digest()
    assert voted.take(np.array([3, 1])).digest() == voted.take(np.array([1, 3])).digest()


def test_fer_plus_fits_fer2013_row_by_row() -> None:
    training = real_fer2013()[Split.TRAINING]
    votes = read_votes(FER_PLUS, Split.TRAINING)
    seen = with_votes(training, votes).votes
    assert seen is not None
    np.testing.assert_allclose(seen.sum(axis=1), 1, atol=1e-5)
    # By chance a fifth would agree; rows that are off by one, too.
    assert 0.6 < (seen.argmax(axis=1) == training.labels).mean() < 0.75
    assert votes.faceless.sum() == 151


def test_soft_votes_are_those_for_the_seven_classes_alone(tmp_path: Path) -> None:
    path = table(
        tmp_path,
        "Training,a.png,2,0,0,3,0,0,0,5,0,0",  # half of the votes are for the seven
        "Training,b.png,0,0,0,4,0,0,0,6,0,0",  # fewer: nothing can be learnt from it
        "Training,c.png,0,0,0,4,0,0,0,0,0,6",
    )
    taken = annotate(faces(4, 4, 4), read_votes(path, Split.TRAINING), VotesAs.SOFT)
    assert taken.faces.votes is not None
    np.testing.assert_allclose(taken.faces.votes, [[0, 0, 0, 0, 0.6, 0, 0.4]], atol=1e-6)
    assert taken.faces.labels.tolist() == [4]
    assert (taken.faceless, taken.undecided) == (1, 1)


def test_majority_replaces_the_label_where_more_than_half_agree(tmp_path: Path) -> None:
    path = table(
        tmp_path,
        "Training,a.png,6,0,0,4,0,0,0,0,0,0",
        "Training,b.png,5,0,0,5,0,0,0,0,0,0",
        "Training,c.png,0,0,0,1,0,0,0,9,0,0",
        "Training,d.png,0,0,0,0,0,8,0,0,2,0",
        "Training,,0,0,0,0,0,0,0,0,0,10",
    )
    taken = annotate(faces(4, 4, 4, 4, 4), read_votes(path, Split.TRAINING), VotesAs.MAJORITY)
    assert taken.faces.labels.tolist() == [6, 1]
    assert taken.faces.votes is None
    assert (taken.faceless, taken.undecided) == (1, 2)


def test_mixed_votes_keep_every_face_that_is_one(tmp_path: Path) -> None:
    path = table(tmp_path, "Training,a.png,0,0,0,1,0,0,0,9,0,0", "Training,,0,0,0,0,0,0,0,0,0,10")
    taken = annotate(faces(4, 4), read_votes(path, Split.TRAINING), VotesAs.MIXED)
    assert taken.faces.labels.tolist() == [4]
    assert taken.faces.votes is not None
    assert (taken.faceless, taken.undecided) == (1, 0)


def test_votes_of_other_rows_are_refused() -> None:
    labels = np.random.default_rng(1).integers(0, 7, 1000)
    shown = faces(*labels.tolist())
    votes = Votes(np.eye(7, dtype=np.float32)[labels], np.zeros(1000, bool))
    with_votes(shown, votes)
    shifted = replace(votes, shares=np.roll(votes.shares, 1, axis=0))
    with pytest.raises(DatasetError, match=r"agree on 1\d% of the images.*original order"):
        with_votes(shown, shifted)
