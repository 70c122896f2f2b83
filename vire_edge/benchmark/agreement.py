"""What two pipelines saw in the same frames → how far they agree, and with what was really there. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from vire_edge.camera import ShownFace
from vire_edge.domain import BoundingBox, Emotion, EmotionScores

MATCH_IOU = 0.5
"""Overlap from which two boxes are the same face."""
TRUE_IOU = 0.3
"""Overlap from which a box shows a face that was drawn: the cascade's is half as wide again where it takes the hair."""
NEAR_SECONDS = 0.5
"""A box that the other found nowhere within this time either is probably no face."""
_ROUNDING = 1e-6


@dataclass(frozen=True, slots=True)
class Sight:
    """What one pipeline saw in one frame."""

    seconds: float
    boxes: tuple[BoundingBox, ...]
    people: tuple[EmotionScores, ...] = ()
    """Smoothed scores of everybody in view whose emotion is known."""


@dataclass(frozen=True, slots=True)
class FaceAgreement:
    """Faces found in the same frames, the reference's and another's."""

    reference: int
    """Boxes of the reference."""
    found: int
    """Those that the other found, too."""
    others: int
    """Boxes of the other."""
    unmatched: int
    """Those that the reference has not in the same frame."""
    never_near: int
    """Those that the reference has not within `NEAR_SECONDS` either."""

    @property
    def recall(self) -> float:
        """Share of the reference's boxes that were found; 1 where there are none."""
        return self.found / self.reference if self.reference else 1.0


@dataclass(frozen=True, slots=True)
class Truth:
    """Faces found beside those that were drawn."""

    shown: int
    """Faces that were there in full."""
    found: int
    boxes: int
    false: int
    """Boxes where no face was, not even one that was coming or going."""

    @property
    def recall(self) -> float:
        """Share of the drawn faces that were found; 1 where there are none."""
        return self.found / self.shown if self.shown else 1.0


@dataclass(frozen=True, slots=True)
class Timeline:
    """The scene's dominant emotion, second by second."""

    seconds: int
    """Seconds in which either of the two knew anybody's emotion."""
    same: int

    @property
    def share(self) -> float:
        """Share of the seconds with the same emotion; 1 where there are none."""
        return self.same / self.seconds if self.seconds else 1.0


def match(
    reference: Sequence[BoundingBox], other: Sequence[BoundingBox], min_iou: float = MATCH_IOU
) -> list[tuple[int, int]]:
    """Pair boxes that show the same face, the best overlap first, each box at most once.

    Returns:
        Pairs of an index in `reference` and one in `other`.
    """
    overlaps = sorted(
        ((box.iou(candidate), i, j) for i, box in enumerate(reference) for j, candidate in enumerate(other)),
        key=lambda overlap: -overlap[0],
    )
    pairs: list[tuple[int, int]] = []
    used: tuple[set[int], set[int]] = (set(), set())
    for iou, i, j in overlaps:
        if iou >= min_iou and i not in used[0] and j not in used[1]:
            pairs.append((i, j))
            used[0].add(i)
            used[1].add(j)
    return pairs


def compare_faces(reference: Sequence[Sight], other: Sequence[Sight]) -> FaceAgreement:
    """Compare boxes frame by frame; both saw the same frames."""
    found = unmatched = never_near = 0
    for index, (expected, seen) in enumerate(zip(reference, other, strict=True)):
        pairs = match(expected.boxes, seen.boxes)
        found += len(pairs)
        matched = {j for _, j in pairs}
        alone = [box for j, box in enumerate(seen.boxes) if j not in matched]
        unmatched += len(alone)
        near = [box for sight in _around(reference, index) for box in sight.boxes] if alone else []
        never_near += sum(not _matches_any(box, near, MATCH_IOU) for box in alone)
    return FaceAgreement(
        reference=sum(len(sight.boxes) for sight in reference),
        found=found,
        others=sum(len(sight.boxes) for sight in other),
        unmatched=unmatched,
        never_near=never_near,
    )


def compare_truth(shown: Sequence[Sequence[ShownFace]], seen: Sequence[Sight]) -> Truth:
    """Compare boxes with the faces that were drawn into the same frames.

    A person who is coming or going may be found or not.
    """
    found = false = 0
    for faces, sight in zip(shown, seen, strict=True):
        boxes = [face.box for face in faces]
        pairs = match(boxes, sight.boxes, TRUE_IOU)
        found += sum(faces[i].presence == 1 for i, _ in pairs)
        false += sum(not _matches_any(box, boxes, TRUE_IOU) for box in sight.boxes)
    return Truth(
        shown=sum(face.presence == 1 for faces in shown for face in faces),
        found=found,
        boxes=sum(len(sight.boxes) for sight in seen),
        false=false,
    )


def compare_timelines(reference: Sequence[Sight], other: Sequence[Sight]) -> Timeline:
    """Compare the scenes' dominant emotions, second by second."""
    expected, seen = timeline(reference), timeline(other)
    seconds = expected.keys() | seen.keys()
    return Timeline(len(seconds), sum(expected.get(second) is seen.get(second) for second in seconds))


def timeline(sights: Iterable[Sight]) -> Mapping[int, Emotion]:
    """Second → the emotion that was most probable in it, over all frames and people; without seconds that know none."""
    sums: dict[int, dict[Emotion, float]] = defaultdict(lambda: defaultdict(float))
    for sight in sights:
        for scores in sight.people:
            for emotion, probability in scores.as_dict().items():
                sums[int(sight.seconds)][emotion] += probability
    return {second: max(scores, key=scores.__getitem__) for second, scores in sums.items()}


def _around(sights: Sequence[Sight], index: int) -> Iterable[Sight]:
    """The frames within `NEAR_SECONDS` of one."""
    at = sights[index].seconds
    first = last = index
    while first > 0 and at - sights[first - 1].seconds <= NEAR_SECONDS + _ROUNDING:
        first -= 1
    while last < len(sights) - 1 and sights[last + 1].seconds - at <= NEAR_SECONDS + _ROUNDING:
        last += 1
    return sights[first : last + 1]


def _matches_any(box: BoundingBox, others: Iterable[BoundingBox], min_iou: float) -> bool:
    return any(box.iou(other) >= min_iou for other in others)
