"""The live view of a terminal: what devices say over MQTT → a picture of them. Nothing is fetched or judged here."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from rich.bar import Bar
from rich.columns import Columns
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from vire_edge.domain import EMOTIONS

LOG_LINES = 6
_PERSON_WIDTH = 34
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


@dataclass
class _Device:
    availability: str = "unknown"
    cameras: dict[str, Payload] = field(default_factory=dict)
    states: dict[str, Payload] = field(default_factory=dict)
    active: list[Payload] = field(default_factory=list)
    health: Payload = field(default_factory=dict)


class LiveView:
    """Everything that was heard of, newest state first on each subject."""

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

    def update(self, topic: str, payload: Payload | None) -> None:
        """Take in a message.

        Args:
            topic: its full topic; one outside the wire contract is ignored.
            payload: its JSON object; None when it was empty or none, which takes a camera off the picture.
        """
        device_id, _, subject = topic.removeprefix(self._prefix).partition("/")
        if not topic.startswith(self._prefix) or not subject:
            return
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
        """The picture, for any width from about 40 columns."""
        parts: list[RenderableType] = [self._device(name, device) for name, device in sorted(self._devices.items())]
        if not parts:
            parts.append(Text("Nothing heard yet.", style="dim"))
        if self._log:
            parts.append(Panel(Group(*self._log), title="alerts as they came", border_style="dim"))
        if self.note:
            parts.append(Text(_clean(self.note), style="yellow"))
        return Group(*parts)

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

    def _device(self, name: str, device: _Device) -> RenderableType:
        parts: list[RenderableType] = []
        for camera in sorted({*device.cameras, *device.states}):
            parts += _camera(camera, device.cameras.get(camera, {}), device.states.get(camera, {}))
        parts += [_open_alert(alert) for alert in device.active]
        if device.health:
            parts.append(_health(device.health))
        title = Text(name, style="bold")
        title.append(f" {device.availability}", style=_COLOURS.get(device.availability, "dim"))
        return Panel(Group(*parts), title=title, title_align="left", border_style="dim")


def _camera(name: str, camera: Payload, state: Payload) -> Iterator[RenderableType]:
    status = _clean(camera.get("status", "unknown"))
    line = Text.assemble((name, "bold"), " ", (status, _COLOURS.get(status, "dim")))
    if since := _time(camera.get("since")):
        line.append(f" since {since}", style="dim")
    if reason := _clean(camera.get("reason", ""), 100):
        line.append(f" ({reason})", style="dim")
    people = [person for person in _list(state.get("people")) if isinstance(person, Mapping)]
    if not people:
        line.append(", nobody in view", style="dim")
    if unjudged := _number(state.get("not_observed")):
        line.append(f", {unjudged:.0f} not to be judged", style="dim")
    yield line
    if people:
        yield Columns([_person(person) for person in people], padding=(0, 2))


def _person(person: Payload) -> Table:
    scores = person.get("scores")
    scores = scores if isinstance(scores, Mapping) else {}
    dominant = _clean(person.get("dominant", ""))
    table = Table.grid(padding=(0, 1))
    table.width = _PERSON_WIDTH
    table.add_column(width=8)
    table.add_column(ratio=1)
    table.add_column(justify="right", width=4)
    seconds = _number(person.get("observed_seconds"))
    table.add_row(Text(f"face {_number(person.get('track_id')):.0f}", style="cyan"), Text(f"seen for {seconds:.0f} s"))
    for emotion in EMOTIONS:
        score = min(1.0, max(0.0, _number(scores.get(emotion.value))))
        strongest = emotion.value == dominant
        bar = Bar(1.0, 0.0, score, color="magenta" if strongest else "blue")
        table.add_row(Text(emotion.value, style="bold" if strongest else ""), bar, f"{score:.0%}")
    return table


def _open_alert(alert: Payload) -> Text:
    severity = _clean(alert.get("severity", ""))
    line = Text("! ", style=_COLOURS.get(severity, ""))
    line.append(_clean(alert.get("text", alert.get("rule", "")), 120), style=_COLOURS.get(severity, ""))
    line.append(f" since {_time(alert.get('started_at'))}", style="dim")
    if alert.get("acknowledged_at"):
        line.append(" acknowledged", style="green")
    return line


def _health(health: Payload) -> Text:
    cameras, delivery = health.get("cameras"), health.get("delivery")
    figures = []
    for name, camera in sorted(cameras.items()) if isinstance(cameras, Mapping) else ():
        if isinstance(camera, Mapping):
            figures.append(f"{_clean(name)} {_number(camera.get('fps')):.1f} fps")
            if latency := _number(camera.get("latency_ms_p95")):
                figures[-1] += f" {latency:.0f} ms"
    if memory := _number(health.get("memory_mb")):
        figures.append(f"{memory:.0f} MB")
    if temperature := _number(health.get("temperature_c")):
        figures.append(f"{temperature:.0f} °C")
    if isinstance(delivery, Mapping):
        figures.append(f"{_number(delivery.get('delivered')):.0f} alerts delivered")
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


def _time(value: object) -> str:
    """Local time of day; empty when it is no ISO 8601 moment."""
    try:
        return datetime.fromisoformat(str(value)).astimezone().strftime("%H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return ""
