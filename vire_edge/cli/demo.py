"""`vire-edge demo`: the whole way from a camera to the caregiver, on one box, in about a minute.

The daemon runs as a process of its own with an embedded broker; everything that is shown has come
back over MQTT.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Any, Self

import typer

from vire_edge.cli.options import name_source_option
from vire_edge.domain import OPENING
from vire_edge.errors import VireError

if TYPE_CHECKING:
    from vire_edge.mqtt.observer import Received

ACTOR = "synthetic"
DEVICE = "demo"
EXPECTED_ALERTS = ("distress", "startle", "absence")
"""What the actor's play raises, each once: sustained distress, a start, an empty room."""
PATIENCE_SECONDS = 180.0
"""The play takes 52 s; a slow box may take longer to start."""
RULES: list[dict[str, Any]] = [
    {
        "kind": "sustained",
        "name": "distress",
        "emotions": ["sad", "fear", "angry"],
        "window_seconds": 10,
        "min_observed_seconds": 6,
        "share": 0.8,
        "hold_seconds": 1,
    },
    {"kind": "spike", "name": "startle", "emotions": ["surprise", "fear"], "hold_seconds": 2},
    {"kind": "absence", "name": "absence", "absent_hours": 4 / 3600, "active_hours": "00:00-23:59"},
    {"kind": "camera", "name": "camera-offline", "hold_seconds": 5},
]
"""The kinds of rule that a daemon has by default, with seconds for minutes and hours."""


class DemoError(VireError):
    """The demo did not show what it should."""


def demo(
    source: Annotated[
        str | None,
        typer.Option(metavar="SOURCE", help="What to watch; without it a webcam if there is one, else the actor."),
    ] = None,
    actor: Annotated[bool, typer.Option("--actor", help="Watch the built-in actor even if there is a webcam.")] = False,
    seconds: Annotated[
        float | None, typer.Option(min=5, metavar="SECONDS", help="End after this time, with nothing checked.")
    ] = None,
    picture: Annotated[
        Path | None, typer.Option(metavar="FILE.svg", help="Save the live view as a picture at the first alert.")
    ] = None,
) -> None:
    """Show it all on one box: faces, smoothed emotions, and alerts as they come back through MQTT.

    The built-in actor has a face that no person has. Its play ends by itself in about a minute, with
    exit status 0 only if every scripted alert has arrived. With a camera the demo runs until Ctrl-C.
    """
    from vire_edge.camera.webcam import find_webcam

    chosen = ACTOR if actor else source or find_webcam() or ACTOR
    scripted = chosen == ACTOR
    print(f"Watching {'the built-in actor, whose face no person has' if scripted else chosen}.", flush=True)
    limit = seconds or (PATIENCE_SECONDS if scripted else None)
    with (
        tempfile.TemporaryDirectory(prefix="vire-edge-demo-") as folder,
        _running_daemon(chosen, Path(folder)) as (daemon, port),
    ):
        raised = _follow(daemon, port, seconds=limit, picture=picture)
    if scripted and seconds is None:
        _judge(raised)
    else:
        print(f"Alerts that came through MQTT: {', '.join(raised) or 'none'}.")


@contextlib.contextmanager
def _running_daemon(source: str, folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run `vire-edge run` in a process of its own; yields it and its broker's port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    config, log_path = folder / "config.toml", folder / "daemon.log"
    config.touch()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("VIRE_EDGE_")} | {
        "VIRE_EDGE_DEVICE_ID": DEVICE,
        "VIRE_EDGE_STATE_DIR": str(folder),
        "VIRE_EDGE_CAMERAS": json.dumps([{"name": "living-room", "source": source}]),
        "VIRE_EDGE_ALERTS": json.dumps(RULES),
        "VIRE_EDGE_BROKER__PORT": str(port),
        "VIRE_EDGE_HEALTH__INTERVAL_SECONDS": "5",
    }
    command = [sys.executable, "-m", "vire_edge", "run", "--config", str(config)]
    with log_path.open("wb") as log, subprocess.Popen(command, env=environment, stdout=log, stderr=log) as daemon:  # noqa: S603 - our own
        try:
            yield daemon, port
        finally:
            if daemon.poll() is None:
                daemon.terminate()
            daemon.wait(timeout=15)
    if daemon.returncode != 0:
        last_line = log_path.read_text(encoding="utf-8", errors="replace").strip().rpartition("\n")[2]
        raise DemoError(f"the daemon ended with status {daemon.returncode}: {last_line.removeprefix('vire-edge: ')}")


def _follow(daemon: subprocess.Popen[bytes], port: int, *, seconds: float | None, picture: Path | None) -> list[str]:
    """Show what comes back through MQTT until the daemon or the time ends; return the rules that raised an alert."""
    from vire_edge.config import MqttConfig
    from vire_edge.mqtt import MqttVersion
    from vire_edge.mqtt.observer import Observer, Received

    raised: list[str] = []
    ends_at = time.monotonic() + (seconds or float("inf"))
    broker = MqttConfig(host="127.0.0.1", port=port)
    with (
        Observer(broker, f"vire/{DEVICE}/#", first_version=MqttVersion.V311) as observer,
        _Screen() as screen,
        contextlib.suppress(KeyboardInterrupt),
    ):
        while time.monotonic() < ends_at:
            running = daemon.poll() is None
            message = observer.receive(0.25 if running else 0.0)
            if message is None and not running:
                break
            if not isinstance(message, Received) or (payload := message.json()) is None:
                continue
            screen.show(message)
            if message.topic.endswith("/alerts") and payload["event"] == "started":
                raised.append(payload["rule"])
            elif picture is not None and raised and "/state/" in message.topic:
                screen.save(picture)
                picture = None
    return raised


def _judge(raised: list[str]) -> None:
    """Compare what has arrived with what the actor's play raises."""
    missing = Counter(EXPECTED_ALERTS) - Counter(raised)
    surplus = Counter(raised) - Counter(EXPECTED_ALERTS)
    if missing or surplus:
        wrong = [f"missing: {', '.join(missing)}"] * bool(missing) + [
            f"not in the script: {', '.join(surplus)}"
        ] * bool(surplus)
        raise DemoError(f"the scripted alerts did not arrive exactly once ({'; '.join(wrong)}); try: vire-edge doctor")
    print(f"Every scripted alert arrived through MQTT exactly once: {', '.join(raised)}.")


class _Screen:
    """The live view on a terminal; elsewhere a line for each alert and each change of what is seen."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live

        from vire_edge.cli.live_view import LiveView

        self._view = LiveView()
        self._console = Console()
        self._live = Live(console=self._console, refresh_per_second=4, get_renderable=self._view.renderable)
        self._said = ""

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._live.stop()

    def show(self, message: Received) -> None:
        """Take in a message."""
        payload = message.json() or {}
        self._view.update(message.topic, payload)
        if not self._console.is_terminal and (line := _line(message.topic, payload)) not in {None, self._said}:
            self._said = str(line)
            print(line, flush=True)

    def save(self, path: Path) -> None:
        """Write the view as an SVG that needs nothing from the network."""
        from rich.console import Console

        from vire_edge.errors import StorageError

        recorder = Console(record=True, width=84, file=io.StringIO(), force_terminal=True)
        recorder.print(self._view.renderable())
        svg = recorder.export_svg(title="vire-edge demo", code_format=_SVG_WITHOUT_WEB_FONTS)
        try:
            path.write_text(svg, encoding="utf-8")
        except OSError as error:
            raise StorageError(f"picture {path} cannot be written: {error.strerror}") from None


def _line(topic: str, payload: dict[str, Any]) -> str | None:
    """What a log without a terminal shows of a message; None for what is no news there."""
    if topic.endswith("/alerts"):
        return f"alert {payload['event']}: {payload['text']} ({payload['severity']})"
    if "/state/" in topic:
        people = [f"{person['dominant']} {person['scores'][person['dominant']]:.0%}" for person in payload["people"]]
        return f"seen: {', '.join(people) or 'nobody'}"
    if "/camera/" in topic:
        opening = payload["reason"] == OPENING
        why = f" ({name_source_option(payload['reason'])})" if payload["reason"] and not opening else ""
        return f"{payload['camera']}: {OPENING if opening else payload['status']}{why}"
    if topic.endswith("/availability"):
        return f"availability: {payload['status']}"
    return None


_SVG_WITHOUT_WEB_FONTS = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: ui-monospace, Menlo, Consolas, monospace; font-size: {char_height}px;
  line-height: {line_height}px; font-variant-east-asian: full-width; }}
.{unique_id}-title {{ font-size: 18px; font-weight: bold; font-family: sans-serif; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/>
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""
