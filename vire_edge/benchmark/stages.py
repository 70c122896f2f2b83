"""Where the time goes: the cost of a frame, and of each method of what the pipeline is made of."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar, cast

Part = TypeVar("Part")


@dataclass(frozen=True, slots=True)
class Cost:
    """What something took of one thread."""

    milliseconds: float
    """On the clock."""
    cpu_milliseconds: float
    """Of the processor; others who want it, too, do not count."""


class Stopwatch:
    """Runs from its making on."""

    def __init__(self) -> None:
        self._began = time.perf_counter(), time.thread_time()

    def read(self) -> Cost:
        """What has been taken since, by this thread."""
        now = time.perf_counter(), time.thread_time()
        return Cost(1000 * (now[0] - self._began[0]), 1000 * (now[1] - self._began[1]))


class Stages:
    """Adds up the milliseconds that the methods of some objects take.

    A method that calls another watched one contains its time.
    """

    def __init__(self) -> None:
        self._milliseconds: dict[str, float] = {}

    def watch(self, part: Part, *, name: str = "") -> Part:
        """Return a stand-in for `part` whose methods are timed under their names, or all of them under `name`."""
        return cast("Part", _Watched(part, lambda method: name or method, self.add))

    def add(self, name: str, milliseconds: float) -> None:
        """Count time towards a stage."""
        self._milliseconds[name] = self._milliseconds.get(name, 0.0) + milliseconds

    def take(self) -> dict[str, float]:
        """Return what was added up since the last time: stage → milliseconds."""
        taken, self._milliseconds = self._milliseconds, {}
        return taken


class _Watched:
    """Hands everything on to what it stands for."""

    def __init__(self, part: object, label: Callable[[str], str], add: Callable[[str, float], None]) -> None:
        self._part, self._label, self._add = part, label, add

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._part, name)
        if not callable(attribute):
            return attribute
        label = self._label(name)

        def timed(*arguments: Any, **named: Any) -> Any:
            began = time.perf_counter()
            result = attribute(*arguments, **named)
            self._add(label, 1000 * (time.perf_counter() - began))
            return self._each(label, result) if isinstance(result, Iterator) else result

        return timed

    def _each(self, label: str, results: Iterator[Any]) -> Iterator[Any]:
        """A generator works while it is read."""
        while True:
            began = time.perf_counter()
            try:
                result = next(results)
            except StopIteration:
                return
            finally:
                self._add(label, 1000 * (time.perf_counter() - began))
            yield result
