"""Folders of pictures, `train/<class>/…` and `test/<class>/…` → rows, in the order of their paths.

The public folder version of FER2013 puts PublicTest and PrivateTest together in `test`, 7,178
pictures under names that do not tell them apart: there, PublicTest means both.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from vire_edge.domain import EMOTIONS, Emotion
from vire_edge.errors import DatasetError
from vire_edge.training.data.archives import Tree, printable, read
from vire_edge.training.data.pictures import SUFFIXES, read_face
from vire_edge.training.data.rows import Row, Split

SPLIT_FOLDERS = {
    "train": Split.TRAINING,
    "training": Split.TRAINING,
    "test": Split.PUBLIC_TEST,
    "publictest": Split.PUBLIC_TEST,
    "validation": Split.PUBLIC_TEST,
    "valid": Split.PUBLIC_TEST,
    "val": Split.PUBLIC_TEST,
    "privatetest": Split.PRIVATE_TEST,
}
"""Folder names, in small letters and without "_", "-" and spaces. A `test` beside a validation folder is
PrivateTest."""
CLASS_FOLDERS = {str(emotion): emotion for emotion in EMOTIONS} | {
    "anger": Emotion.ANGRY,
    "disgusted": Emotion.DISGUST,
    "fearful": Emotion.FEAR,
    "afraid": Emotion.FEAR,
    "happiness": Emotion.HAPPY,
    "joy": Emotion.HAPPY,
    "sadness": Emotion.SAD,
    "surprised": Emotion.SURPRISE,
}
"""Folder names, in small letters."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where one picture belongs."""

    name: str
    label: int
    split: Split


def is_picture(name: str) -> bool:
    """Whether a file's name says so."""
    return name.casefold().endswith(SUFFIXES)


def read_rows(tree: Tree, *, own: bool) -> Iterator[Row]:
    """Yield the pictures as rows, in the order of their paths.

    Args:
        tree: the folder or archive.
        own: a user's own faces: of any size, and possibly without `train` around the classes.

    Raises:
        DatasetError: the layout is another, or a picture is broken; the message names the file or folder.
    """
    broken: list[DatasetError] = []
    for place in _places(tree, own=own):
        try:
            face = read_face(read(tree, place.name), tree.where(place.name), any_size=own)
        except DatasetError as error:
            # Read on: who has to mend forty pictures wants to know that it is forty.
            broken.append(error)
        else:
            yield Row(place.label, face.tobytes(), place.split)
    if broken:
        raise DatasetError(f"{broken[0]}{_and_more(len(broken) - 1)}") from broken[0]


def _places(tree: Tree, *, own: bool) -> list[Place]:
    """Every picture's place; files beside the class folders that are no pictures are passed over."""
    pictures = [name for name in tree.names if is_picture(name)]
    if not pictures:
        raise DatasetError(
            f"{tree.path} holds no pictures ({', '.join(SUFFIXES)}); give a folder with train/<class>/, "
            "and convert other kinds, such as HEIC and WebP, to JPEG or PNG"
        )
    root = _root(pictures)
    inside = {name: name.removeprefix(root).split("/") for name in tree.names if name.startswith(root)}
    splits = _splits(tree, {parts[0] for parts in inside.values() if len(parts) > 1 and parts[1]})
    places = [place for name, parts in inside.items() if (place := _place(tree, name, parts, splits))]
    others = [place.name for place in places if not is_picture(place.name)]
    if others:
        kinds = ", ".join(suffix.removeprefix(".") for suffix in SUFFIXES)
        raise DatasetError(
            f'{tree.where(others[0])}: "{PurePosixPath(others[0]).suffix}" is none of {kinds}; '
            f"convert it to JPEG or PNG, or remove it{_and_more(len(others) - 1)}"
        )
    if Split.TRAINING not in {place.split for place in places}:
        raise DatasetError(f"{tree.path} holds nothing to learn from; put pictures into train/<class>/")
    in_split = {inside[place.name][0] in splits for place in places}
    if len(in_split) > 1:
        raise DatasetError(f"{tree.path} holds classes both with and without train/ around them; keep one of the two")
    if in_split == {False} and not own:
        raise DatasetError(
            f"{tree.path} holds classes without train/ and test/ around them; give a user's own faces with --faces"
        )
    return places


def _root(pictures: list[str]) -> str:
    """The folders around the layout, with a "/" at the end: what all pictures have in common before it."""
    root: list[str] = []
    parts = [name.split("/") for name in pictures]
    while min(map(len, parts)) > 1 and max(map(len, parts)) > 2:
        first = {names[0] for names in parts}
        if len(first) > 1 or _plain(min(first)) in SPLIT_FOLDERS or min(first).casefold() in CLASS_FOLDERS:
            break
        root.append(first.pop())
        parts = [names[1:] for names in parts]
    return "".join(f"{name}/" for name in root)


def _splits(tree: Tree, folders: set[str]) -> dict[str, Split]:
    """Folder name → split, for those of the folders that are one."""
    splits = {name: SPLIT_FOLDERS[_plain(name)] for name in folders if _plain(name) in SPLIT_FOLDERS}
    if sum(split is Split.PUBLIC_TEST for split in splits.values()) > 1:
        splits |= {name: Split.PRIVATE_TEST for name in splits if _plain(name) == "test"}
    names = defaultdict(list)
    for name, split in sorted(splits.items()):
        names[split].append(name)
    for split, same in names.items():
        if len(same) > 1:
            raise DatasetError(f"{tree.path}: the folders {' and '.join(same)} both mean {split}; keep one of them")
    return splits


def _place(tree: Tree, name: str, parts: list[str], splits: dict[str, Split]) -> Place | None:
    split = splits.get(parts[0])
    folders = parts[:-1] if split is None else parts[1:-1]
    if not folders:
        if is_picture(name):
            raise DatasetError(f"{tree.where(name)} lies in no class folder; move it into one, such as happy/")
        return None
    emotion = CLASS_FOLDERS.get(folders[0].casefold())
    if emotion is None:
        if split is None and not is_picture(name):
            return None  # documents that came along
        raise DatasetError(
            f'{tree.path}: the folder "{printable(folders[0])}" of {printable(name)} is no class; '
            f"rename it to one of {', '.join(EMOTIONS)}, or remove it"
        )
    if not parts[-1]:
        if len(folders) > 1:
            return None
        raise DatasetError(f"{tree.where(name)} holds no picture; fill the folder or remove it")
    return Place(name, EMOTIONS.index(emotion), split or Split.TRAINING)


def _and_more(count: int) -> str:
    return f" (and so {count} more)" if count else ""


def _plain(name: str) -> str:
    return name.casefold().replace("_", "").replace("-", "").replace(" ", "")
