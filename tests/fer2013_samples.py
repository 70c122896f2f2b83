"""Small sets in the challenge's format, and the real one where it is at hand."""

from __future__ import annotations

import functools
import gzip
import os
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from vire_edge.domain import EMOTIONS
from vire_edge.training.data.dataset import Dataset, Faces, Split, load

SHARED = Path(__file__).resolve().parents[2] / "shared"
FER2013 = SHARED / "data" / "fer2013" / "fer2013.csv.gz"
FER_PLUS = FER2013.with_name("fer2013new.csv")
HEADER = "emotion,pixels,Usage"


def row(label: object, pixels: NDArray[np.uint8] | str, usage: str = "Training") -> str:
    text = pixels if isinstance(pixels, str) else " ".join(str(value) for value in pixels.ravel())
    return f"{label},{text},{usage}"


def patterns(seed: int, per_class: int) -> tuple[NDArray[np.uint8], list[int]]:
    """Stripes whose direction and width tell the class, so that a network can learn them."""
    rng = np.random.default_rng(seed)
    x, y = np.meshgrid(np.arange(48), np.arange(48))
    images, labels = [], []
    for label in range(7):
        for _ in range(per_class):
            wave = np.sin((x * np.cos(label) + y * np.sin(label)) / (2 + label) + rng.uniform(0, 6))
            images.append(np.clip(128 + 80 * wave + rng.normal(0, 10, wave.shape), 0, 255).astype(np.uint8))
            labels.append(label)
    return np.stack(images), labels


def tiny_csv(folder: Path, *, per_class: int = 12) -> Path:
    """84 training and 21 evaluation images."""
    lines = [HEADER]
    for usage, seed, count in (("Training", 1, per_class), ("PublicTest", 2, 3)):
        images, labels = patterns(seed, count)
        lines += [row(label, image, usage) for image, label in zip(images, labels, strict=True)]
    path = folder / "fer2013.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def fer_plus_csv(folder: Path, labels: list[int]) -> Path:
    """Seven of ten votes for the label of each training image, two for neutral, one for none of the classes."""
    columns = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral", "contempt", "unknown", "NF")
    lines = [",".join(("Usage", "Image name", *columns))]
    for index, label in enumerate(labels):
        votes = [0] * 10
        votes[label] += 7
        votes[6] += 2
        votes[8] += 1
        lines.append(",".join(map(str, ("Training", f"fer{index:07}.png", *votes))))
    path = folder / "fer2013new.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def write_folders(root: Path, dataset: Dataset, suffix: str = ".png") -> Path:
    """The public folder layout: `train/<class>/…` and `test/<class>/…`, numbered by class."""
    for split, name in ((Split.TRAINING, "train"), (Split.PUBLIC_TEST, "test")):
        if split in dataset.splits:
            write_classes(root / name, dataset[split], suffix)
    return root


def write_classes(root: Path, faces: Faces, suffix: str = ".png") -> Path:
    """A folder for each class, its pictures numbered."""
    for index, (image, label) in enumerate(zip(faces.images, faces.labels.tolist(), strict=True)):
        folder = root / EMOTIONS[label]
        folder.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / f"{index:05}{suffix}"), image)
    return root


def zip_folder(folder: Path, out: Path, *, inside: str = "") -> Path:
    """All files of a folder in a zip archive, possibly under one more folder."""
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, f"{inside}{path.relative_to(folder)}")
    return out


def zipped(path: Path) -> Path:
    """The file, gzip-compressed."""
    out = path.with_suffix(".csv.gz")
    out.write_bytes(gzip.compress(path.read_bytes(), 1))
    return out


@functools.cache
def real_fer2013() -> Dataset:
    """FER2013 itself. Where it should be at hand, its absence is a failure, not a reason to skip."""
    if not FER2013.exists():
        if SHARED.exists() or "CI" in os.environ:
            pytest.fail(f"{FER2013} is missing")
        pytest.skip("FER2013 is not beside this checkout")
    return load(FER2013)
