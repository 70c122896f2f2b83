from __future__ import annotations

import os
import shutil
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from fer2013_samples import fer_plus_csv, patterns, tiny_csv, write_classes, write_folders, zip_folder, zipped
from numpy.typing import NDArray

from vire_edge.domain import EMOTIONS
from vire_edge.errors import DatasetError
from vire_edge.preprocess import crop_face, to_gray
from vire_edge.training.data.archives import LARGEST_FILE
from vire_edge.training.data.dataset import Dataset, Faces, Split, load


def picture(suffix: str = ".png", *, size: tuple[int, int] = (48, 48), seed: int = 0) -> bytes:
    """Noise in colour, width by height."""
    width, height = size
    image = np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)
    return cv2.imencode(suffix, image)[1].tobytes()


def png(width: int, height: int) -> bytes:
    """A file whose parts have the right checksums, and too few pixels in them."""
    content = b"\x89PNG\r\n\x1a\n"
    header = b"IHDR" + struct.pack(">II5B", width, height, 8, 2, 0, 0, 0)
    for chunk in (header, b"IDAT" + zlib.compress(bytes(100)), b"IEND"):
        content += struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    return content


def write(root: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def zip_of(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


@pytest.fixture
def tiny(tmp_path: Path) -> Dataset:
    return load(tiny_csv(tmp_path, per_class=3), cache=tmp_path / "tiny-cache")


def test_every_form_of_a_set_has_the_same_digests(tmp_path: Path, tiny: Dataset) -> None:
    table = tmp_path / "fer2013.csv"
    folder = write_folders(tmp_path / "folders", tiny)
    forms = {
        "csv": table,
        "gz": zipped(table),
        "zip of the csv": zip_of(tmp_path / "a.zip", {"archive/deep/fer2013.csv": table.read_bytes()}),
        "zip of the gz": zip_of(tmp_path / "b.zip", {"fer2013.csv.gz": zipped(table).read_bytes(), "README": b"hello"}),
        "folders": folder,
        "bmp": write_folders(tmp_path / "bmp", tiny, ".bmp"),
        "zip of folders": zip_folder(folder, tmp_path / "c.zip"),
        "zip with a folder around": zip_folder(folder, tmp_path / "d.zip", inside="archive/fer2013/"),
    }
    for name, path in forms.items():
        read = load(path, cache=tmp_path / "cache")
        assert read.digest() == tiny.digest(), name
        for split in (Split.TRAINING, Split.PUBLIC_TEST):
            assert read[split].digest() == tiny[split].digest(), name
    assert len(list((tmp_path / "cache").iterdir())) == len(forms)


def test_a_folder_and_its_archive_give_the_same_order_which_only_the_file_has_of_its_own(
    tmp_path: Path, tiny: Dataset
) -> None:
    shuffled = Dataset(
        {split: faces.take(np.random.default_rng(0).permutation(len(faces))) for split, faces in tiny.splits.items()}
    )
    folder = write_folders(tmp_path / "folders", shuffled)
    read = load(folder, cache=tmp_path / "cache")
    archive = load(zip_folder(folder, tmp_path / "a.zip", inside="around/"), cache=tmp_path / "cache")
    orders = [dataset[Split.TRAINING].order_digest() for dataset in (tiny, read, archive)]
    assert orders[1] == orders[2] != orders[0]
    assert (tiny.in_file_order, read.in_file_order, archive.in_file_order) == (True, False, False)
    assert not load(folder, cache=tmp_path / "cache").in_file_order  # from the cache as well


def test_folder_is_read_from_the_cache_until_a_picture_changes(tmp_path: Path) -> None:
    folder = write(tmp_path / "faces", {f"train/happy/{n}.png": picture(seed=n) for n in range(3)})
    first = load(folder, cache=tmp_path / "cache")
    assert load(folder, cache=tmp_path / "cache").digest() == first.digest()
    assert len(list((tmp_path / "cache").iterdir())) == 1
    (folder / "train/happy/0.png").write_bytes(picture(seed=9))
    assert load(folder, cache=tmp_path / "cache").digest() != first.digest()


def test_names_of_splits_and_classes_are_read_as_people_write_them(tmp_path: Path) -> None:
    folder = write(
        tmp_path / "faces",
        {
            "Training/Anger/a.JPG": picture(".jpg"),
            "Training/Happiness/a.png": picture(),
            "Public_Test/fearful/b.png": picture(),
            "PrivateTest/SAD/c.jpeg": picture(".jpg"),
            "README.md": b"text",
            "documents/notes.txt": b"text",
            "train/.DS_Store": b"x",
            "Training/Anger/Thumbs.db": b"x",
        },
    )
    dataset = load(folder, cache=tmp_path / "cache")
    assert {split: faces.labels.tolist() for split, faces in dataset.splits.items()} == {
        Split.TRAINING: [0, 3],
        Split.PUBLIC_TEST: [2],
        Split.PRIVATE_TEST: [4],
    }


@pytest.mark.parametrize(
    ("folders", "expected"),
    [
        (("train", "test"), {Split.TRAINING, Split.PUBLIC_TEST}),
        (("train", "validation"), {Split.TRAINING, Split.PUBLIC_TEST}),
        (("train", "val", "test"), set(Split)),
    ],
)
def test_test_folder_is_private_test_only_beside_a_validation_folder(
    tmp_path: Path, folders: tuple[str, ...], expected: set[Split]
) -> None:
    files = {f"{name}/{EMOTIONS[index]}/a.png": picture() for index, name in enumerate(folders)}
    dataset = load(write(tmp_path / "faces", files), cache=tmp_path / "cache")
    assert set(dataset.splits) == expected
    assert dataset[Split.TRAINING].labels.tolist() == [0]
    if len(folders) == 3:
        assert dataset[Split.PRIVATE_TEST].labels.tolist() == [2]


def test_files_of_a_mac_and_hidden_ones_in_an_archive_are_passed_over(tmp_path: Path) -> None:
    archive = zip_of(
        tmp_path / "a.zip",
        {
            "faces/train/happy/a.png": picture(),
            "__MACOSX/faces/train/happy/._a.png": b"x",
            "faces/.git/b.png": b"x",
            "faces/train/happy/.c.png": b"x",
        },
    )
    assert len(load(archive, cache=tmp_path / "cache")[Split.TRAINING]) == 1


def test_own_faces_of_any_size_and_colour_pass_through_the_edges_functions(tmp_path: Path) -> None:
    content = picture(".jpg", size=(130, 110))
    folder = write(tmp_path / "mine", {"happy/a.jpg": content, "sad/monday/b.png": picture(size=(30, 30))})
    faces = load(folder, own=True, cache=tmp_path / "cache")[Split.TRAINING]
    assert faces.labels.tolist() == [3, 4]
    seen: NDArray[np.uint8] = np.asarray(cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR), np.uint8)
    assert np.array_equal(faces.images[0], crop_face(to_gray(seen)))


def test_own_faces_may_have_a_test_folder_and_come_in_an_archive(tmp_path: Path) -> None:
    images, labels = patterns(1, 2)
    faces = Faces(images, np.array(labels))
    folder = write_folders(tmp_path / "mine", Dataset({Split.TRAINING: faces, Split.PUBLIC_TEST: faces}))
    read = load(zip_folder(folder, tmp_path / "mine.zip"), own=True, cache=tmp_path / "cache")
    assert set(read.splits) == {Split.TRAINING, Split.PUBLIC_TEST}
    plain = load(write_classes(tmp_path / "classes", faces), own=True, cache=tmp_path / "cache")
    assert set(plain.splits) == {Split.TRAINING}
    assert plain[Split.TRAINING].digest() == read[Split.TRAINING].digest() == faces.digest()


FINE = {"train/happy/a.png": picture(), "train/sad/b.png": picture(seed=1), "test/happy/c.png": picture(seed=2)}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"train/contempt/x.png": picture()}, 'the folder "contempt" of .*train/contempt/x.png is no class; rename it'),
        ({"contempt/x.png": picture()}, 'the folder "contempt" of .*contempt/x.png is no class; rename it'),
        ({"train/x.png": picture()}, r"train/x\.png lies in no class folder; move it"),
        ({"x.png": picture()}, r"x\.png lies in no class folder"),
        ({"sad/x.png": picture()}, "classes both with and without train/"),
        ({"training/sad/x.png": picture()}, "the folders train and training both mean Training; keep one"),
        ({"train/sad/x.txt": b"notes"}, r'train/sad/x\.txt: "\.txt" is none of jpg, jpeg, png, bmp; convert'),
        (
            {f"train/sad/{name}.HEIC": b"" for name in "abc"},
            r'train/sad/a\.HEIC: "\.HEIC" .*; convert it to JPEG or PNG, or remove it \(and so 2 more\)',
        ),
        ({f"train/sad/{name}.png": b"" for name in "abc"}, r"a\.png is empty; remove or replace it \(and so 2 more\)"),
        ({"train/sad/x.png": b""}, r"train/sad/x\.png is empty; remove or replace"),
        ({"train/sad/x.jpg": b"GIF89a"}, r"x\.jpg is no JPEG, PNG or BMP picture; convert"),
        ({"train/sad/x.png": picture()[:-20]}, r"x\.png is cut off or damaged; remove"),
        ({"train/sad/x.png": picture()[:200] + b"\0" + picture()[201:]}, r"x\.png is cut off or damaged"),
        ({"train/sad/x.jpg": picture(".jpg")[:-300]}, r"x\.jpg is cut off or damaged"),
        ({"train/sad/x.bmp": picture(".bmp")[:-300]}, r"x\.bmp is cut off or damaged"),
        ({"train/sad/x.jpg": b"\xff\xd8\xff\xd9"}, r"x\.jpg is cut off or damaged"),
        ({"train/sad/x.png": picture(size=(48, 47))}, r"x\.png has 48×47 pixels, FER2013's pictures have 48×48"),
        ({"train/sad/x.png": png(48, 48)}, r"x\.png cannot be read as a picture"),
    ],
)
def test_broken_folder_is_named_with_file_and_remedy(tmp_path: Path, files: dict[str, bytes], message: str) -> None:
    folder = write(tmp_path / "faces", FINE | files)
    for path in (folder, zip_folder(folder, tmp_path / "faces.zip", inside="around/")):
        with pytest.raises(DatasetError, match=message) as raised:
            load(path, cache=tmp_path / "cache")
        assert str(path) in str(raised.value)
        assert "\n" not in str(raised.value)
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "holds no pictures"),
        ({"train/happy/a.heic": b""}, "holds no pictures .*convert other kinds, such as HEIC and WebP, to JPEG or PNG"),
        ({"test/happy/a.png": picture()}, "holds nothing to learn from; put pictures into train/"),
        ({"happy/a.png": picture()}, "classes without train/ and test/ around them; give a user's own faces with"),
        ({"a.csv": b"", "b/c.csv": b""}, r"holds 2 CSV files \(a\.csv, b/c\.csv\); give one of them"),
        ({"a.csv": b"emotion,pixels,Usage\n9,1,Training\n"}, r"a\.csv, line 2: emotion must be 0 to 6"),
    ],
)
def test_layout_without_faces_to_learn_from_is_named(tmp_path: Path, files: dict[str, bytes], message: str) -> None:
    folder = write(tmp_path / "faces", files)
    folder.mkdir(exist_ok=True)
    for path in (folder, zip_folder(folder, tmp_path / "faces.zip")):
        with pytest.raises(DatasetError, match=message) as raised:
            load(path, cache=tmp_path / "cache")
        assert str(path) in str(raised.value)


@pytest.mark.parametrize(
    ("size", "message"), [((200, 100), "200×100 pixels; cut out the face"), ((23, 30), "a face needs 24")]
)
def test_own_picture_that_can_be_no_face_is_named(tmp_path: Path, size: tuple[int, int], message: str) -> None:
    folder = write(tmp_path / "mine", {"happy/a.png": picture(size=size)})
    with pytest.raises(DatasetError, match=message):
        load(folder, own=True, cache=tmp_path / "cache")


def test_picture_that_would_fill_the_memory_is_not_decoded(tmp_path: Path) -> None:
    folder = write(tmp_path / "mine", {"happy/a.png": png(40_000, 40_000)})
    with pytest.raises(DatasetError, match="40000×40000 pixels, too many"):
        load(folder, own=True, cache=tmp_path / "cache")


def _empty_class(folder: Path) -> None:
    (folder / "train" / "disgust").mkdir()


def _broken_link(folder: Path) -> None:
    (folder / "train" / "disgust").symlink_to(folder / "away")


def _pipe(folder: Path) -> None:
    os.mkfifo(folder / "train" / "sad" / "pipe.png")


def _large(folder: Path) -> None:
    with (folder / "train" / "sad" / "large.png").open("wb") as file:
        file.truncate(65 << 20)


def _link_in_a_circle(folder: Path) -> None:
    (folder / "train" / "sad" / "again").symlink_to(folder / "train", target_is_directory=True)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_empty_class, r"train/disgust/ holds no picture; fill the folder or remove it"),
        (_broken_link, r"train/disgust is a link to nothing; mend or remove it"),
        (_pipe, r"train/sad/pipe\.png is no regular file; remove it"),
        (_link_in_a_circle, r"train/sad/again leads in a circle; remove this link"),
        (_large, r"train/sad/large\.png has more than 64 MB; remove it"),
    ],
)
def test_folder_that_cannot_be_read_whole_is_refused(
    tmp_path: Path, spoil: Callable[[Path], None], message: str
) -> None:
    folder = write(tmp_path / "faces", FINE)
    spoil(folder)
    with pytest.raises(DatasetError, match=message):
        load(folder, cache=tmp_path / "cache")


def test_faces_are_found_beside_the_votes_on_them(tmp_path: Path, tiny: Dataset) -> None:
    folder = tmp_path / "downloads"
    folder.mkdir()
    tiny_csv(folder, per_class=3)
    fer_plus_csv(folder, patterns(1, 3)[1])
    for path in (folder, zip_folder(folder, tmp_path / "downloads.zip")):
        found = load(path, cache=tmp_path / "cache")
        assert found.digest() == tiny.digest()
        assert found.in_file_order


def test_linked_class_is_not_left_out(tmp_path: Path) -> None:
    folder = write(tmp_path / "faces", FINE)
    shutil.move(folder / "train" / "sad", tmp_path / "elsewhere")
    (folder / "train" / "sad").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    assert load(folder, cache=tmp_path / "cache")[Split.TRAINING].labels.tolist() == [3, 4]


def _cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-30])


def _overwritten(path: Path) -> None:
    content = bytearray(path.read_bytes())
    at = content.index(b"IDAT") + 100
    content[at : at + 50] = bytes(50)
    path.write_bytes(content)


def _encrypted(path: Path) -> None:
    content = bytearray(path.read_bytes())
    for magic, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = content.find(magic)
        while start >= 0:
            content[start + at] |= 1
            start = content.find(magic, start + 4)
    path.write_bytes(content)


def _leads_outside(path: Path) -> None:
    zip_of(path, FINE | {"../../train/happy/z.png": picture()})


def _bomb(path: Path) -> None:
    content = bytearray(path.read_bytes())
    for start in (at for at in range(len(content)) if content[at : at + 4] == b"PK\x01\x02"):
        struct.pack_into("<I", content, start + 24, LARGEST_FILE + 1)
    path.write_bytes(content)


def _larger_than_it_says(path: Path) -> None:
    zip_of(path, {"train/happy/z.png": picture() + bytes(1000)})
    content = path.read_bytes()
    start = content.index(b"PK\x01\x02") + 24
    path.write_bytes(content[:start] + struct.pack("<I", len(picture())) + content[start + 4 :])


def _twice(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("train/happy/a.png", picture())
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("train/happy/a.png", picture(seed=1))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_cut_off, "is damaged or cut off"),
        (_overwritten, r"a\.png is damaged .*download the archive again"),
        (_encrypted, r"\.png is encrypted; unpack the archive"),
        (_leads_outside, r'"\.\./\.\./train/happy/z\.png" leads out of the archive'),
        (_bomb, r"\.png would unpack to 1024 MB, more than 1024; do not trust this file"),
        (_larger_than_it_says, r"z\.png is damaged"),
        (_twice, r"a\.png stands in the archive twice"),
    ],
)
def test_broken_archive_is_refused(tmp_path: Path, spoil: Callable[[Path], None], message: str) -> None:
    path = zip_of(tmp_path / "faces.zip", FINE)
    spoil(path)
    with pytest.raises(DatasetError, match=message) as raised:
        load(path, cache=tmp_path / "cache")
    assert str(path) in str(raised.value)
    assert not (tmp_path / "cache").exists()


def test_damaged_archive_is_refused_or_read_right(tmp_path: Path, tiny: Dataset) -> None:
    whole = zip_folder(write_folders(tmp_path / "folders", tiny), tmp_path / "whole.zip").read_bytes()
    rng, damaged, refused = np.random.default_rng(0), tmp_path / "damaged.zip", 0
    for _ in range(60):
        content = bytearray(whole)
        for at in rng.integers(2, len(content), 8):
            content[at] = rng.integers(256)
        damaged.write_bytes(content)
        try:
            assert load(damaged, cache=tmp_path / "cache").digest() == tiny.digest()
        except DatasetError:
            refused += 1
    assert refused > 50
