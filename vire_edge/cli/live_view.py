"""The live view of a terminal: what devices say over MQTT → a picture of them. Nothing is fetched or judged here."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from rich.bar import Bar
from rich.columns import Columns
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.panel import Panel
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from vire_edge.domain import EMOTIONS

LOG_LINES = 6
_PERSON_WIDTH = 34
_NOTE_LENGTH = 400
_WORTH_A_WORD = 0.05
"""Where a person has a single line, an emotion below this is left out."""
_COLOURS = {
    "online": "green",
    "stopped": "yellow",
    "offline": "red",
    "reconnecting": "red",
    "stalled": "red",
    "dark": "yellow",
    "disabled": "yellow",
    "info": "cyan",
    "warning": "yellow",
    "critical": "bold red",
    "started": "bold",
    "updated": "bold",
    "ended": "green",
}

Payload = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Detail:
    """How much room the picture takes."""

    bars: bool
    """Whether a person is a table of bars, or one line."""
    events: int
    """How many of the last events are shown."""


_DETAILS = (
    _Detail(bars=True, events=LOG_LINES),
    _Detail(bars=True, events=3),
    _Detail(bars=False, events=LOG_LINES),
    _Detail(bars=False, events=3),
    _Detail(bars=False, events=1),
)
"""From the richest to the shortest: the first that fits a terminal's height is drawn."""


@dataclass
class _Device:
    availability: str = "unknown"
    cameras: dict[str, Payload] = field(default_factory=dict)
    states: dict[str, Payload] = field(default_factory=dict)
    active: list[Payload] = field(default_factory=list)
    health: Payload = field(default_factory=dict)


class LiveView:
    """Everything that was heard of: alerts first, for a short terminal cuts off the end."""

    def __init__(self, prefix: str = "vire") -> None:
        """Begin with nothing.

        Args:
            prefix: what the topics begin with, before the device.
        """
        self.note = ""
        """A line on the connection itself; empty while all is well."""
        self._prefix = f"{prefix}/"
        self._devices: dict[str, _Device] = {}
        self._log: deque[Text] = deque(maxlen=LOG_LINES)
        self._lock = threading.Lock()  # rich may draw on a thread of its own while messages come in

    def update(self, topic: str, payload: Payload | None) -> None:
        """Take in a message.

        Args:
            topic: its full topic; one outside the wire contract is ignored.
            payload: its JSON object; None when it was empty or none, which takes a camera off the picture.
        """
        device_id, _, subject = topic.removeprefix(self._prefix).partition("/")
        if not topic.startswith(self._prefix) or not subject:
            return
        with self._lock:
            self._take(device_id, subject, payload)

    def _take(self, device_id: str, subject: str, payload: Payload | None) -> None:
        device = self._devices.setdefault(_clean(device_id), _Device())
        kind, _, name = subject.partition("/")
        given: Payload = payload or {}
        match kind, name:
            case "availability", "":
                device.availability = _clean(given.get("status", "unknown"))
            case "camera", name if name:
                _keep(device.cameras, name, payload)
            case "state", name if name:
                _keep(device.states, name, payload)
            case "alerts", "":
                self._remember(device_id, given)
            case "alerts", "active":
                device.active = [alert for alert in _list(given.get("alerts")) if isinstance(alert, Mapping)]
            case "health", "":
                device.health = given

    def renderable(self) -> RenderableType:
        """The picture, for any width from about 40 columns; on a terminal it shrinks to the height."""
        return self

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        height = options.height
        if height is None and console.is_terminal and not console.record:
            height = options.max_height
        options = options.reset_height()
        footer: list[list[Segment]] = []
        if self.note:
            footer = console.render_lines(Text(_clean(self.note, _NOTE_LENGTH), style="yellow"), options, pad=False)
        lines: list[list[Segment]] = []
        for detail in _DETAILS:
            with self._lock:
                picture = Group(*self._parts(detail))
            lines = console.render_lines(picture, options, pad=False)
            if height is None or len(lines) + len(footer) <= height:
                break
        else:
            lines = lines[: max(0, (height or 0) - len(footer))]
        for line in (*lines, *footer):
            yield from line
            yield Segment.line()

    def _parts(self, detail: _Detail) -> Iterator[RenderableType]:
        devices = sorted(self._devices.items())
        several = len(devices) > 1
        alerts = [_open_alert(alert, name if several else "") for name, device in devices for alert in device.active]
        alerts += list(self._log)[-detail.events :]
        if alerts:
            yield Panel(Group(*alerts), title="alerts", title_align="left", border_style="dim")
        for name, device in devices:
            yield _device(name, device, detail)
        if not devices:
            yield Text("Nothing heard yet.", style="dim")

    def _remember(self, device_id: str, alert: Payload) -> None:
        event = _clean(alert.get("event", "?"))
        line = Text(f"{_time(alert.get('at'))} ", style="dim")
        line.append(event.ljust(8), style=_COLOURS.get(event, ""))
        severity = _clean(alert.get("severity", ""))
        line.append(severity.ljust(9), style=_COLOURS.get(severity, ""))
        if len(self._devices) > 1:
            line.append(f"{_clean(device_id)}: ")
        line.append(_clean(alert.get("text", alert.get("rule", "")), 120))
        self._log.append(line)


def _device(name: str, device: _Device, detail: _Detail) -> RenderableType:
    parts: list[RenderableType] = []
    for camera in sorted({*device.cameras, *device.states}):
        parts += _camera(camera, device, detail)
    if device.health:
        parts.append(_health(device.health))
    title = Text(name, style="bold")
    title.append(f" {device.availability}", style=_COLOURS.get(device.availability, "dim"))
    if paused_until := _time(device.health.get("paused_until"), "%H:%M"):
        title.append(f" paused until {paused_until}", style="yellow")
    return Panel(Group(*parts), title=title, title_align="left", border_style="dim")


def _camera(name: str, device: _Device, detail: _Detail) -> Iterator[RenderableType]:
    camera, state = device.cameras.get(name, {}), device.states.get(name, {})
    status = _clean(camera.get("status", "unknown"))
    line = Text.assemble((name, "bold"), " ", (status, _COLOURS.get(status, "dim")))
    if since := _time(camera.get("since")):
        line.append(f" since {since}", style="dim")
    if reason := _clean(camera.get("reason", ""), 100):
        line.append(f" ({reason})", style="dim")
    people = [person for person in _list(state.get("people")) if isinstance(person, Mapping)]
    # A camera in trouble sees nothing, which is no news of the room; nor is what a device last said that is gone.
    if not people and status == "online" and device.availability not in {"stopped", "offline"}:
        line.append(", nobody in view", style="dim")
    if unjudged := _number(state.get("not_observed")):
        line.append(f", {unjudged:.0f} not to be judged", style="dim")
    yield line
    if detail.bars and people:
        yield Columns([_person(person) for person in people], padding=(0, 2))
    elif people:
        yield from map(_person_line, people)


def _person(person: Payload) -> Table:
    scores, dominant = _scores(person), _clean(person.get("dominant", ""))
    table = Table.grid(padding=(0, 1))
    table.width = _PERSON_WIDTH
    table.add_column(width=8)
    table.add_column(ratio=1)
    table.add_column(justify="right", width=4)
    seconds = _number(person.get("observed_seconds"))
    table.add_row(Text(f"face {_number(person.get('track_id')):.0f}", style="cyan"), Text(f"seen for {seconds:.0f} s"))
    for emotion, score in scores.items():
        strongest = emotion == dominant
        bar = Bar(1.0, 0.0, score, color="magenta" if strongest else "blue")
        table.add_row(Text(emotion, style="bold" if strongest else ""), bar, f"{score:.0%}")
    return table


def _person_line(person: Payload) -> Text:
    """`face 1  sad 75%, angry 8%`."""
    line = Text(f"face {_number(person.get('track_id')):.0f}  ", style="cyan", no_wrap=True, overflow="ellipsis")
    strongest = sorted(_scores(person).items(), key=lambda item: item[1], reverse=True)
    words = [f"{emotion} {score:.0%}" for emotion, score in strongest if score >= _WORTH_A_WORD]
    line.append(", ".join(words), style="not bold default")
    return line


def _scores(person: Payload) -> dict[str, float]:
    """Emotion → 0..1 in the model's order, whatever was sent."""
    given = person.get("scores")
    given = given if isinstance(given, Mapping) else {}
    return {emotion.value: min(1.0, max(0.0, _number(given.get(emotion.value)))) for emotion in EMOTIONS}


def _open_alert(alert: Payload, device: str) -> Text:
    severity = _clean(alert.get("severity", ""))
    line = Text("! ", style=_COLOURS.get(severity, ""))
    if device:
        line.append(f"{device}: ")
    line.append(_clean(alert.get("text", alert.get("rule", "")), 120), style=_COLOURS.get(severity, ""))
    line.append(f" since {_time(alert.get('started_at'))}", style="dim")
    if alert.get("acknowledged_at"):
        line.append(" acknowledged", style="green")
    return line


def _health(health: Payload) -> Text:
    cameras, delivery = health.get("cameras"), health.get("delivery")
    figures = []
    for name, camera in sorted(cameras.items()) if isinstance(cameras, Mapping) else ():
        if isinstance(camera, Mapping) and camera.get("fps") is not None:
            figures.append(f"{_clean(name)} {_number(camera.get('fps')):.1f} fps")
            if latency := _number(camera.get("latency_ms_p95")):
                figures[-1] += f" {latency:.0f} ms"
            if reason := camera.get("lowered_by"):
                figures[-1] += f" ({_clean(reason).replace('_', ' ')})"
    if memory := _number(health.get("memory_mb")):
        figures.append(f"{memory:.0f} MB")
    if temperature := _number(health.get("temperature_c")):
        figures.append(f"{temperature:.0f} °C")
    if isinstance(delivery, Mapping):
        delivered = _number(delivery.get("delivered"))
        figures.append(f"{delivered:.0f} alert{'' if delivered == 1 else 's'} delivered")
        if queued := _number(delivery.get("queued")):
            figures.append(f"{queued:.0f} waiting")
        if dropped := _number(delivery.get("dropped")):
            figures.append(f"{dropped:.0f} lost")
    return Text(" · ".join(figures), style="dim")


def _keep(kept: dict[str, Payload], name: str, payload: Payload | None) -> None:
    if payload is None:
        kept.pop(_clean(name), None)
    else:
        kept[_clean(name)] = payload


def _clean(value: object, length: int = 64) -> str:
    """Text from the network without what a terminal would obey."""
    return "".join(character for character in str(value) if character.isprintable())[:length]


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) and abs(value) < 1e12 else 0.0


def _time(value: object, shape: str = "%H:%M:%S") -> str:
    """Local time of day; empty when it is no ISO 8601 moment."""
    try:
        return datetime.fromisoformat(str(value)).astimezone().strftime(shape)
    except (ValueError, OverflowError, OSError):
        return ""
