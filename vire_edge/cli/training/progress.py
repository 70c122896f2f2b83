"""What a training run shows while it goes: bars on a terminal, a line an epoch and a minute elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from vire_edge.domain import EMOTIONS

if TYPE_CHECKING:
    # The package costs nothing to import, but a command that is not run must not load OpenCV and ONNX Runtime.
    from vire_edge.training.data.cleaning import Findings
    from vire_edge.training.progress import BatchDone, DataReady, Event

FER2013_TRAINING = 28_709
"""Images of its Training split (Goodfellow et al. 2013)."""
LINE_SECONDS = 60.0
"""Elsewhere than on a terminal, a line after so long shows that the run is alive, and fills no log."""


class Reporter:
    """Shows progress: bars on a terminal; elsewhere a line for each epoch, and one a minute in between."""

    def __init__(self, console: Console, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._clock = clock
        self._told = clock()
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self._reading: TaskID | None = None
        self._task: TaskID | None = None
        self._shown = 0.0

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def __call__(self, event: Event) -> None:
        """Show one event."""
        from vire_edge.training import progress

        if isinstance(event, progress.Reading):
            self._progress.update(self._reading_task(), figures=f"{event.images} images")
            self._tell_each_minute(f"reading: {event.images} images")
        elif isinstance(event, progress.DataReady):
            self._tell_data(event)
        elif isinstance(event, progress.Stage):
            self._tell(f"{event.what} …")
        elif isinstance(event, progress.BatchDone):
            self._batch(event)
        else:
            record = event.record
            self._tell(
                f"epoch {record.epoch}/{event.epochs}: loss {record.loss:.4f} accuracy {record.accuracy:.4f} · "
                f"held out: loss {record.held_out_loss:.4f} accuracy {record.held_out_accuracy:.4f} · "
                f"{record.seconds:.1f} s"
                f"{' · kept' if event.kept else ''}"
            )

    def _tell_data(self, ready: DataReady) -> None:
        if self._reading is not None:
            self._progress.remove_task(self._reading)
            self._reading = None
        found, mine, print_line = ready.findings, ready.own, self._tell
        alone = ready.evaluated_on != "PublicTest"
        # A file that was cut off after a whole row looks like a whole one.
        part = "" if alone or found.images == FER2013_TRAINING else f" of FER2013's {FER2013_TRAINING}"
        print_line(
            f"{found.images} training images{part}: {found.repeats} repeats, {found.conflicting} with conflicting "
            f"labels, {found.blank} blank, {found.leaks} also in {'test/' if alone else 'PublicTest'}"
        )
        print_line(_by_class(found))
        print_line(f"SHA-256 of all images, the same in every form: {ready.dataset_digest}")
        if found.evaluation_repeats or found.evaluation_blank:
            print_line(
                f"{ready.evaluated_on} to measure on: {found.evaluation_repeats} repeats, "
                f"{found.evaluation_blank} blank; all are measured"
            )
        if ready.fer_plus_as is not None:
            print_line(
                f"FER+ votes as {ready.fer_plus_as}: {ready.faceless} images left out that show no face, "
                f"{ready.undecided} undecided"
            )
        if mine is not None and not alone:
            found = mine.findings
            print_line(
                f"{found.images} own faces: {found.repeats} repeats, {found.conflicting} with conflicting labels, "
                f"{found.blank} blank; {mine.learnt} learnt from, {mine.repeats} times in an epoch; "
                f"{mine.set_aside} {'from test/' if mine.has_test else 'drawn by their pixels'} set aside to measure on"
            )
            print_line(_by_class(found))
        drawn = " (a tenth, drawn by their pixels)" if alone and mine is not None and not mine.has_test else ""
        left = f"; {ready.left_out} left out: repeats, blank, of conflicting labels or measured on"
        print_line(
            f"learning from {ready.learnt}, {ready.held_out} held out, {ready.evaluated_on} {ready.evaluated}{drawn}"
            f"{left if ready.left_out else ''}"
        )
        for doubt in ready.doubts:
            print_line(f"WARNING: {doubt}", style="yellow")

    def _reading_task(self) -> TaskID:
        if self._reading is None:
            self._reading = self._progress.add_task("reading", total=None, figures="")
        return self._reading

    def _batch(self, event: BatchDone) -> None:
        now = self._clock()
        # Small batches come a hundred times a second; a terminal needs ten.
        if now - self._shown < 0.1 and event.batch < event.batches:
            return
        self._shown = now
        total, done = event.epochs * event.batches, (event.epoch - 1) * event.batches + event.batch
        figures = f"{event.images_per_second:.0f} images/s · loss {event.loss:.3f} · accuracy {event.accuracy:.3f}"
        if self._task is None:
            # Begun where a resumed run goes on, so that the time left is right.
            self._task = self._progress.add_task("", total=total, completed=done, figures=figures)
        description = f"epoch {event.epoch}/{event.epochs}"
        self._progress.update(self._task, completed=done, description=description, figures=figures)
        self._tell_each_minute(f"{description}, batch {event.batch}/{event.batches}: {figures}")

    def _tell(self, line: str, *, style: str | None = None) -> None:
        self._console.print(line, style=style)
        self._told = self._clock()

    def _tell_each_minute(self, line: str) -> None:
        if not self._console.is_terminal and self._clock() - self._told >= LINE_SECONDS:
            self._tell(line)


def _by_class(found: Findings) -> str:
    counts = (f"{emotion} {count}" for emotion, count in zip(EMOTIONS, found.per_class, strict=True))
    return f"by class: {', '.join(counts)}"
