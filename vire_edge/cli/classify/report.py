"""What `classify` prints: JSON lines for programs, tables on a terminal, plain lines elsewhere."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from vire_edge.cli.classify.look import Face, View
from vire_edge.domain import EMOTIONS, BoundingBox, Emotion, EmotionScores


class Report(Protocol):
    """Is told what was seen, file by file."""

    def begin(self, path: Path, video: bool) -> None:
        """A file is looked at."""

    def tell(self, path: Path, view: View) -> None:
        """One picture or frame of it was looked at."""

    def end(self, path: Path) -> None:
        """The file is done."""


class JsonLines:
    """One JSON object for each picture and for each frame of a video."""

    def begin(self, path: Path, video: bool) -> None:
        """Print nothing."""

    def tell(self, path: Path, view: View) -> None:
        """Print the faces with boxes in pixels and all scores, or the reason why one was not observed."""
        height, width = view.image.shape[:2]
        position = {} if view.frame is None else {"frame": view.frame, "seconds": round(view.seconds or 0.0, 3)}
        faces = [_face_values(face) for face in view.faces]
        values = {"file": str(path), **position, "width": width, "height": height, "faces": faces}
        print(json.dumps(values, ensure_ascii=False))

    def end(self, path: Path) -> None:
        """Print nothing."""


def _face_values(face: Face) -> dict[str, Any]:
    box = face.box
    values: dict[str, Any] = {} if face.track_id is None else {"track_id": face.track_id}
    values |= {"box": {"x": box.x, "y": box.y, "width": box.width, "height": box.height}, "view": face.view.value}
    if face.scores is None:
        return {**values, "observed": False, "reason": _reason(face)}
    scores = {emotion.value: round(score, 4) for emotion, score in face.scores.as_dict().items()}
    return {**values, "observed": True, "dominant": face.scores.dominant.value, "scores": scores}


@dataclass(slots=True)
class _Person:
    """One track of a video, summed up."""

    first: float
    last: float
    frames: int = 0
    seconds: dict[Emotion, float] = field(default_factory=lambda: defaultdict(float))
    """Dominant emotion → observed seconds."""

    @property
    def observed(self) -> float:
        return sum(self.seconds.values())

    def shares(self) -> str:
        if not self.observed:
            return "not observed"
        ranked = sorted(self.seconds.items(), key=lambda item: -item[1])
        return ", ".join(f"{emotion} {seconds / self.observed:.0%}" for emotion, seconds in ranked if seconds)


class _Summary:
    """Keeps a picture's faces and sums a video up by person."""

    def __init__(self) -> None:
        self.video = False
        self.faces: tuple[Face, ...] = ()
        self.people: dict[int, _Person] = {}
        self.frames = 0

    def begin(self, path: Path, video: bool) -> None:  # noqa: ARG002 - the Protocol's; heirs name the file at its end
        """Forget the file before."""
        self.video, self.faces, self.people, self.frames = video, (), {}, 0

    def tell(self, path: Path, view: View) -> None:  # noqa: ARG002 - the Protocol's; heirs name the file at its end
        """Add one picture or frame."""
        self.frames += 1
        self.faces = view.faces
        for face in view.faces:
            if face.track_id is not None and view.seconds is not None:
                person = self.people.setdefault(face.track_id, _Person(view.seconds, view.seconds))
                person.last, person.frames = view.seconds, person.frames + 1
                if face.scores is not None:
                    person.seconds[face.scores.dominant] += face.interval_seconds


class Lines(_Summary):
    """A line for each face of a picture and for each person of a video."""

    def end(self, path: Path) -> None:
        """Print what was found."""
        for line in self._lines():
            print(f"{path}: {line}")

    def _lines(self) -> Iterator[str]:
        if self.video:
            for track_id, person in self.people.items():
                yield (
                    f"person {track_id}, {person.first:.1f} to {person.last:.1f} s, "
                    f"observed {person.observed:.1f} s: {person.shares()}"
                )
        else:
            for number, face in enumerate(self.faces, 1):
                read = (
                    f"not observed ({_reason(face)})" if face.scores is None else _ranking(face.scores, len(EMOTIONS))
                )
                yield f"face {number} at {_place(face.box)}: {read}"
        if not (self.people if self.video else self.faces):
            yield "no face found"


class Tables(_Summary):
    """A table for each file."""

    def end(self, path: Path) -> None:
        """Print what was found."""
        console = Console()
        title = f"{path} · {self.frames} frames" if self.video else str(path)
        if not (self.people if self.video else self.faces):
            console.print(f"{title}: no face found", markup=False, highlight=False)
            return
        console.print(f"\n{title}", style="bold", markup=False, highlight=False)
        console.print(self._people() if self.video else self._faces())

    def _faces(self) -> Table:
        table = Table("face", "where", "emotion", *EMOTIONS, box=SIMPLE, padding=(0, 1, 0, 0))
        for number, face in enumerate(self.faces, 1):
            where = _place(face.box) if face.view == "frontal" else f"{_place(face.box)}, {face.view.replace('_', ' ')}"
            if face.scores is None:
                table.add_row(str(number), where, f"[dim]not observed: {_reason(face)}[/dim]")
                continue
            scores = [f"{score:.0%}" for score in face.scores.probabilities]
            table.add_row(str(number), where, f"[bold]{face.scores.dominant}[/bold]", *scores)
        return table

    def _people(self) -> Table:
        table = Table("person", "from", "to", "observed", "emotions, by share of the observed time", box=SIMPLE)
        for track_id, person in self.people.items():
            times = (f"{seconds:.1f} s" for seconds in (person.first, person.last, person.observed))
            table.add_row(str(track_id), *times, person.shares())
        return table


def _reason(face: Face) -> str:
    return "not read yet" if face.flaw is None else face.flaw.value


def _place(box: BoundingBox) -> str:
    return f"{box.x},{box.y} {box.width}×{box.height}"


def _ranking(scores: EmotionScores, count: int) -> str:
    ranked = sorted(scores.as_dict().items(), key=lambda item: -item[1])[:count]
    return ", ".join(f"{emotion} {score:.0%}" for emotion, score in ranked)
