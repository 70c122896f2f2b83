from __future__ import annotations

import csv
import gzip
from pathlib import Path

import numpy as np
import pytest
from fer2013_samples import HEADER, patterns, real_fer2013, row, tiny_csv, zipped
from numpy.typing import NDArray

from vire_edge.errors import DatasetError, StorageError
from vire_edge.training.data import cleaning
from vire_edge.training.data.dataset import Dataset, Faces, Split, load

GRAY = " ".join(["7"] * 2304)


def test_reads_images_and_labels_of_each_split(tmp_path: Path) -> None:
    images, labels = patterns(1, 12)
    dataset = load(tiny_csv(tmp_path), cache=tmp_path / "cache")
    assert np.array_equal(dataset[Split.TRAINING].images, images)
    assert dataset[Split.TRAINING].labels.tolist() == labels
    assert len(dataset[Split.PUBLIC_TEST]) == 21


def test_plain_and_gzip_have_the_same_digest(tmp_path: Path) -> None:
    plain = tiny_csv(tmp_path)
    assert load(plain, cache=tmp_path / "a").digest() == load(zipped(plain), cache=tmp_path / "b").digest()


def test_digest_is_independent_of_the_rows_order_but_not_of_their_content(tmp_path: Path) -> None:
    faces = load(tiny_csv(tmp_path), cache=tmp_path / "cache")[Split.TRAINING]
    reordered = faces.take(np.random.default_rng(0).permutation(len(faces)))
    relabelled = Faces(faces.images, np.roll(faces.labels, 12))
    assert reordered.digest() == faces.digest() != relabelled.digest()


def test_header_with_spaces_is_read(tmp_path: Path) -> None:
    path = tiny_csv(tmp_path)
    spaced = tmp_path / "spaced.csv"
    spaced.write_text(path.read_text().replace(HEADER, "emotion, pixels, Usage"))
    assert load(spaced, cache=tmp_path / "a").digest() == load(path, cache=tmp_path / "b").digest()


def test_header_in_another_order_is_read(tmp_path: Path) -> None:
    path = tiny_csv(tmp_path)
    other = tmp_path / "icml_face_data.csv"
    with path.open() as file, other.open("w") as out:
        for label, pixels, usage in csv.reader(file):
            print(label, f" {usage}", f" {pixels}", sep=",", file=out)
    assert load(other, cache=tmp_path / "a").digest() == load(path, cache=tmp_path / "b").digest()


def test_second_reading_comes_from_the_cache(tmp_path: Path) -> None:
    path, cache = tiny_csv(tmp_path), tmp_path / "cache"
    first = load(path, cache=cache)
    read: list[int] = []
    assert load(path, cache=cache, on_row=read.append).digest() == first.digest()
    assert len(list(cache.iterdir())) == 1
    assert not read


def test_damaged_cache_is_made_again(tmp_path: Path) -> None:
    path, cache = tiny_csv(tmp_path), tmp_path / "cache"
    digest = load(path, cache=cache).digest()
    (file,) = cache.iterdir()
    file.write_bytes(file.read_bytes()[:1000])
    assert load(path, cache=cache).digest() == digest


def test_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="XDG_CACHE_HOME"):
        load(tiny_csv(tmp_path), cache=tmp_path / "file" / "cache")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (row(7, GRAY), r'line 3: emotion must be 0 to 6, got "7"; correct or remove'),
        (row("sad", GRAY), r'line 3: emotion must be 0 to 6, got "sad"'),
        (row("", GRAY), r'line 3: emotion must be 0 to 6, got ""'),
        (row(0, GRAY, "Test"), r'line 3: Usage must be one of Training, PublicTest, PrivateTest, got "Test"'),
        (row(0, GRAY + " 7"), r"line 3: 2304 pixels expected, got 2305"),
        (row(0, "7 7"), r"line 3: 2304 pixels expected, got 2"),
        (row(0, GRAY[:-1] + "256"), r'line 3: a pixel must be 0 to 255, got "256"'),
        (row(0, GRAY[:-1] + "-1"), r'line 3: a pixel must be 0 to 255, got "-1"'),
        (row(0, GRAY[:-1] + "x"), r'line 3: a pixel must be 0 to 255, got "x"'),
        (row(0, GRAY[:-1] + "7.5"), r'line 3: a pixel must be 0 to 255, got "7.5"'),
        (row(0, GRAY[:-1] + "+7"), r'line 3: a pixel must be 0 to 255, got "\+7"'),
        (row(0, GRAY[:-1] + "2_5"), r'line 3: a pixel must be 0 to 255, got "2_5"'),
        (row(0, GRAY[:-1] + "\0"), r'line 3: a pixel must be 0 to 255, got "\\x00"'),
        (f"0,{GRAY}", r"line 3: 3 columns expected, got 2"),
        (f"0,{GRAY},Training,9", r"line 3: 3 columns expected, got 4"),
    ],
)
def test_broken_row_is_named_with_line_value_and_remedy(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "broken.csv"
    path.write_text("\n".join([HEADER, row(0, GRAY), line, row(1, GRAY)]))
    with pytest.raises(DatasetError, match=message) as raised:
        load(path, cache=tmp_path / "cache")
    assert str(path) in str(raised.value)
    assert "; " in str(raised.value)
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(b"", 'line 1: the header must be "emotion,pixels,Usage", got ""', id="empty"),
        pytest.param(
            b"label;faces\n1,2\n",
            'line 1: the header must be "emotion,pixels,Usage", got "label;faces"; give',
            id="header",
        ),
        pytest.param(b"emotion,pixels\n1,2\n", "line 1: the column Usage is missing", id="no usage"),
        pytest.param(b"emotion,pixels,Usage,Usage\n1,2\n", "line 1: the header must be", id="column twice"),
        pytest.param(HEADER.encode() + b"\n", "holds no rows", id="no rows"),
        pytest.param(
            gzip.compress(b"fer2013/fer2013.csv" + bytes(500)),
            "holds an archive or other binary data; unpack it",
            id="tar in gzip",
        ),
        pytest.param(b"\xff\xfe\x00 no text", "is no text file", id="no text"),
        pytest.param(gzip.compress(HEADER.encode() + b"\n")[:-10], "damaged or cut off", id="gzip cut off"),
        pytest.param(
            gzip.compress(f"{HEADER}\n{row(0, GRAY)}\n".encode())[:-8] + bytes(8),
            "damaged or cut off .CRC",
            id="gzip checksum",
        ),
        pytest.param(b"\x1f\x8b" + b"junk" * 50, "damaged or cut off", id="gzip junk"),
        pytest.param(
            gzip.compress(HEADER.encode() + b"\n0," + b"9" * 2_000_000),
            "line 2: no CSV .longer than 65536",
            id="endless",
        ),
        pytest.param(
            f'{HEADER}\n0,"'.encode() + (b"7 " * 5_000 + b"\n") * 20,
            "line 2: no CSV .unexpected end of data",
            id="open quote",
        ),
        pytest.param(
            f"{HEADER}\n{row(0, GRAY)}\n\n{row(0, GRAY)}\n".encode(), "line 3: empty; remove it", id="empty line"
        ),
    ],
)
def test_file_that_is_no_dataset_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "broken.csv"
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=message):
        load(path, cache=tmp_path / "cache")


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"nothing\.csv cannot be read .*fer2013.csv"):
        load(tmp_path / "nothing.csv", cache=tmp_path / "cache")


def test_missing_split_names_what_is_there() -> None:
    with pytest.raises(DatasetError, match="no faces for PublicTest, only for Training"):
        Dataset({Split.TRAINING: Faces(*_arrays(1))})[Split.PUBLIC_TEST]


def _arrays(per_class: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    images, labels = patterns(3, per_class)
    return images, np.array(labels, np.int64)


def test_cleaning_removes_repeats_conflicts_blanks_and_leaks_only() -> None:
    images, labels = _arrays(2)  # 14 images, two of each class
    images[1] = images[0]  # a repeat with the same label: one stays
    images[4] = images[2]  # conflicting labels: both go
    images[6] = 200  # blank
    evaluation = Faces(images[8:9].copy(), labels[8:9])  # a leak
    training = Faces(images, labels)
    found = cleaning.inspect(training, evaluation)
    assert (found.repeats, found.conflicting, found.conflicting_groups, found.blank, found.leaks) == (2, 2, 1, 1, 1)
    kept = cleaning.clean(training, evaluation)
    expected = [index for index in range(14) if index not in {1, 2, 4, 6, 8}]
    assert np.array_equal(kept.images, images[expected])


def test_held_out_part_is_stratified_disjoint_and_seeded() -> None:
    faces = Faces(*_arrays(20))
    learn, held = cleaning.hold_out(faces, 0.1, seed=1)
    assert np.bincount(held.labels).tolist() == [2] * 7
    assert len(learn) + len(held) == len(faces)
    assert not cleaning.repeats_of(held, learn).any()
    assert cleaning.hold_out(faces, 0.1, seed=1)[1].digest() == held.digest()
    assert cleaning.hold_out(faces, 0.1, seed=2)[1].digest() != held.digest()


def test_single_image_of_a_class_cannot_be_held_out() -> None:
    images, labels = _arrays(2)
    with pytest.raises(DatasetError, match='only one training image is "angry"'):
        cleaning.hold_out(Faces(images[1:], labels[1:]), 0.1, seed=1)


def test_fer2013_holds_what_is_known_of_it() -> None:
    dataset = real_fer2013()
    training, evaluation = dataset[Split.TRAINING], dataset[Split.PUBLIC_TEST]
    found = cleaning.inspect(training, evaluation)
    assert (len(training), len(evaluation), found.per_class[1]) == (28709, 3589, 436)
    assert (found.repeats, found.conflicting_groups, found.blank) == (1234, 42, 11)
    assert int(cleaning.repeats_of(evaluation, training).sum()) == 280
    assert not cleaning.repeats_of(evaluation, cleaning.clean(training, evaluation)).any()
