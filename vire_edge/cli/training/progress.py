"""What a training run shows while it goes: bars on a terminal, one line an epoch elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    # The package costs nothing to import, but a command that is not run must not load OpenCV and ONNX Runtime.
    from vire_edge.training.progress import BatchDone, Event


class Reporter:
    """Shows progress: bars on a terminal, one line an epoch elsewhere."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(),
            console=console,
            disable=not sys.stdout.isatty(),
            transient=True,
        )
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

        if isinstance(event, progress.DataReady):
            found = event.findings
            self._console.print(
                f"{found.images} training images: {found.repeats} repeats, {found.conflicting} with conflicting "
                f"labels, {found.blank} blank, {found.leaks} also in PublicTest"
            )
            if event.with_votes:
                self._console.print(f"with the votes of FER+; {event.faceless} images left out that show no face")
            self._console.print(
                f"learning from {event.learnt}, {event.held_out} held out, PublicTest {event.evaluated}"
            )
        elif isinstance(event, progress.BatchDone):
            self._batch(event)
        else:
            record = event.record
            self._console.print(
                f"epoch {record.epoch}/{event.epochs}: loss {record.loss:.4f} accuracy {record.accuracy:.4f} · "
                f"held out: loss {record.held_out_loss:.4f} accuracy {record.held_out_accuracy:.4f} · "
                f"{record.seconds:.1f} s"
                f"{' · kept' if event.kept else ''}"
            )

    def _batch(self, event: BatchDone) -> None:
        now = time.monotonic()
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
