from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from vire_edge.domain import EMOTIONS
from vire_edge.emotions import shipped_model_path
from vire_edge.errors import DatasetError, StorageError
from vire_edge.training.data.dataset import Faces
from vire_edge.training.export import run_file
from vire_edge.training.expressions import make_expressions, write_pictures
from vire_edge.training.scenes import SIDE, scene, soft_ellipse

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = ROOT / "vire_edge" / "camera" / "expressions"


def shipped(emotion: str) -> NDArray[np.uint8]:
    picture = cv2.imread(str(SHIPPED / f"{emotion}.png"), cv2.IMREAD_GRAYSCALE)
    assert picture is not None
    return np.asarray(picture, np.uint8)


def noisy_faces(per_class: int, *, emotions: tuple[str, ...] = tuple(EMOTIONS)) -> Faces:
    """Training faces that are in truth one face a class, moved, scaled and with noise: what averaging must undo."""
    rng = np.random.default_rng(0)
    images, labels = [], []
    for emotion in emotions:
        for _ in range(per_class):
            angle, zoom = rng.uniform(-4, 4), rng.uniform(0.95, 1.05)
            matrix = cv2.getRotationMatrix2D((SIDE / 2, SIDE / 2), angle, zoom)
            matrix = matrix + np.array([[0, 0, rng.uniform(-6, 6)], [0, 0, rng.uniform(-6, 6)]])
            moved = cv2.warpAffine(shipped(emotion), matrix, (SIDE, SIDE), borderMode=cv2.BORDER_REPLICATE)
            small = cv2.resize(moved, (48, 48), interpolation=cv2.INTER_AREA)
            images.append(np.clip(small + rng.normal(0, 6, small.shape), 0, 255).astype(np.uint8))
            labels.append(EMOTIONS.index(emotion))
    return Faces(np.stack(images), np.array(labels))


def read(faces: NDArray[np.uint8]) -> NDArray[np.float32]:
    return run_file(shipped_model_path(), faces)


def test_average_of_moved_noisy_faces_is_found_and_read_as_its_class(tmp_path: Path) -> None:
    seen: list[str] = []
    made = make_expressions(noisy_faces(104), read, count=100, on_class=lambda emotion, _: seen.append(emotion))
    assert seen == list(EMOTIONS)
    for expression in made:
        assert (expression.faces, expression.found) == (100, 1.0)
        assert expression.image.shape == (SIDE, SIDE)
    assert sum(expression.lowest > 0.5 for expression in made) >= 6
    write_pictures(made, tmp_path / "faces")
    assert {path.name for path in (tmp_path / "faces").iterdir()} == {f"{emotion}.png" for emotion in EMOTIONS}


def test_picture_is_mirror_symmetric_and_so_nobodys() -> None:
    for emotion in EMOTIONS:
        picture = shipped(emotion).astype(int)
        assert np.abs(picture - picture[:, ::-1]).max() <= 2


def test_class_with_too_few_faces_is_named() -> None:
    with pytest.raises(DatasetError, match=r'only \d+ training faces of "angry" .* 100 are needed'):
        make_expressions(noisy_faces(20, emotions=("angry",)), read, count=100)


def test_average_of_few_faces_is_refused() -> None:
    with pytest.raises(ValueError, match="99 faces may resemble one"):
        make_expressions(noisy_faces(1), read, count=99)


def test_scene_is_plain_gray_outside_the_soft_ellipse() -> None:
    gray = scene(shipped("happy"), 160, 200, 100)
    assert gray.shape == (480, 640)
    outside = np.ones((480, 640), bool)
    outside[100:260, 200:360] = soft_ellipse(160) == 0
    assert (gray[outside] == 128).all()
    assert gray[140:220, 240:320].std() > 20


def test_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="--out"):
        write_pictures([], tmp_path / "file" / "faces")
