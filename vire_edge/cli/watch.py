"""`vire-edge watch`: follow what devices say over MQTT, live in the terminal or line by line."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Self

import typer

from vire_edge.cli.options import ConfigOption
from vire_edge.errors import BrokerError

if TYPE_CHECKING:
    from rich.console import Console

    from vire_edge.config import MqttConfig
    from vire_edge.mqtt import MqttVersion
    from vire_edge.mqtt.observer import LinkChanged, Observer, Received

_REDRAW_SECONDS = 0.2
_IDLE_SECONDS = 1.0
_SILENCE_SECONDS = 5.0
"""Each device's availability is kept at the broker, so one that is known is heard at once."""
_SEARCH_SECONDS = 1.0
"""How long other devices' kept availability may take to come, once it is subscribed to."""
_SEARCH_LIMIT_SECONDS = 10.0
_MOST_NAMES = 10


def watch(
    *,
    host: Annotated[
        str | None, typer.Option(metavar="HOST", help="The broker; without it the one in the configuration.")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(metavar="PORT", min=1, max=65535, help="Its port: 1883, or 8883 with TLS, if left out."),
    ] = None,
    username: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Login name; the password comes from --password-file or the environment."),
    ] = None,
    password_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="File whose first line is the password. Or set VIRE_EDGE_MQTT__PASSWORD."),
    ] = None,
    ca_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Certificate authority of the broker, PEM; turns TLS on."),
    ] = None,
    device: Annotated[str | None, typer.Option(metavar="ID", help="Only this device; without it, all of them.")] = None,
    config: ConfigOption = None,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json", metavar="", help="One JSON object for each message: topic, payload, retained, received_at."
        ),
    ] = False,
) -> None:
    """Follow devices live: faces, smoothed emotions, alerts as they come. Ctrl-C ends it.

    On a terminal it draws; with --json, or when the output goes elsewhere, it writes one line for
    each message. A broker that goes away is waited for, and so is a device that says nothing yet.

    Example: vire-edge watch --host broker.local --username caregiver --password-file secret
    """
    from rich.console import Console

    from vire_edge.mqtt.observer import Observer

    mqtt, first_version = _broker(
        host=host, port=port, username=username, password_file=password_file, ca_file=ca_file, config=config
    )
    console = Console()
    try:
        with (
            Observer(mqtt, f"{mqtt.topic_prefix}/{device or '+'}/#", first_version=first_version) as observer,
            _Search(mqtt, device, first_version) as search,
        ):
            if as_json or not console.is_terminal:
                _write_lines(observer, search, mqtt, as_json=as_json)
            else:
                _draw(observer, search, mqtt, console)
    except KeyboardInterrupt:
        return
    except BrokerError as error:
        raise BrokerError(_in_own_words(str(error), mqtt)) from error
    except BrokenPipeError:
        # The reader, such as head(1), has had enough; what is left to be flushed goes nowhere.
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())


def _broker(
    *,
    host: str | None,
    port: int | None,
    username: str | None,
    password_file: Path | None,
    ca_file: Path | None,
    config: Path | None,
) -> tuple[MqttConfig, MqttVersion]:
    """The broker's settings: the configuration, the environment over it, the options over both."""
    from vire_edge.config import ENV_PREFIX, load_config
    from vire_edge.mqtt import MqttVersion
    from vire_edge.mqtt.embedded import EmbeddedBroker

    options = {
        "HOST": host,
        "PORT": port,
        "USERNAME": username,
        "PASSWORD_FILE": password_file,
        "TLS__CA_FILE": ca_file,
    }
    given = {f"{ENV_PREFIX}MQTT__{name}": str(value) for name, value in options.items() if value is not None}
    environment = dict(os.environ)
    if password_file is not None:
        environment.pop(f"{ENV_PREFIX}MQTT__PASSWORD", None)
    if host is not None and config is None:
        # Everything about the broker is said; the daemon's own file may be unreadable for this user.
        config = Path(os.devnull)
    settings = load_config(config, environ=environment | given)
    if settings.mqtt.host is not None:
        return settings.mqtt, MqttVersion.V5
    if ca_file is not None:
        raise typer.BadParameter("the broker inside the daemon speaks no TLS; add --host", param_hint="--ca-file")
    mqtt = EmbeddedBroker(settings.broker).client_config(settings.mqtt)
    changed = {"port": port, "username": username, "password": settings.mqtt.password if username else None}
    return mqtt.model_copy(update={key: value for key, value in changed.items() if value is not None}), MqttVersion.V311


def _in_own_words(reason: str, mqtt: MqttConfig) -> str:
    """Put this command's options where a reason names the settings of the configuration."""
    from vire_edge.mqtt.failures import CHECK_THE_LOGIN, SET_A_LOGIN, START_THE_BROKER

    here = mqtt.host in {"localhost", "::1"} or str(mqtt.host).startswith("127.")
    words = {
        f"; {START_THE_BROKER}": " (is vire-edge run running? on another machine: --host)"
        if here
        else "; start it, or correct --host and --port",
        SET_A_LOGIN: "give --username and --password-file",
        CHECK_THE_LOGIN: "check --username and --password-file",
        "mqtt.host": "--host",
        "mqtt.port": "--port",
        "mqtt.tls.ca_file": "--ca-file",
        "add [mqtt.tls]": "give --ca-file",
    }
    for theirs, ours in words.items():
        reason = reason.replace(theirs, ours)
    return reason


class _Search:
    """Tells which devices there are when the one that was asked for says nothing."""

    def __init__(self, mqtt: MqttConfig, device: str | None, first_version: MqttVersion) -> None:
        self._mqtt, self._first_version = mqtt, first_version
        self._device = device
        """None once there is nothing to look for."""
        self._silent_since = self._asked_at = self._subscribed_at = float("inf")
        self._observer: Observer | None = None
        self._names: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._observer is not None:
            self._observer.stop()

    def follow(self, arrived: Received | LinkChanged | None) -> str | None:
        """Take note of what came, or that nothing did; returns what there is to say, once."""
        from vire_edge.mqtt.observer import LinkChanged, Received

        now = time.monotonic()
        if isinstance(arrived, Received):
            self._device = None
        elif isinstance(arrived, LinkChanged):
            self._silent_since = now if arrived.connected else float("inf")
        if self._device is None or now - self._silent_since < _SILENCE_SECONDS or not self._asked_for_long(now):
            return None
        said = f"nothing heard from {self._device} yet"
        self._device = None
        if not self._names:
            return said
        names = sorted(self._names)
        return f"{said}; heard: {', '.join(names[:_MOST_NAMES])}{' …' * (len(names) > _MOST_NAMES)}"

    def _asked_for_long(self, now: float) -> bool:
        """Listen to all devices, on a connection of its own: a broker may forbid this one."""
        from vire_edge.mqtt.observer import Observer, Received

        if self._observer is None:
            topics = f"{self._mqtt.topic_prefix}/+/availability"
            self._observer = Observer(self._mqtt, topics, first_version=self._first_version)
            self._observer.start()
            self._asked_at = now
        try:
            while (arrived := self._observer.receive(0.0)) is not None:
                if isinstance(arrived, Received):
                    name = arrived.topic.removesuffix("/availability").rpartition("/")[2]
                    self._names.add("".join(character for character in name if character.isprintable())[:64])
                elif arrived.connected:
                    self._subscribed_at = now
        except BrokerError:
            return True
        return now - self._subscribed_at >= _SEARCH_SECONDS or now - self._asked_at >= _SEARCH_LIMIT_SECONDS


def _write_lines(observer: Observer, search: _Search, mqtt: MqttConfig, *, as_json: bool) -> None:
    """One line for each message; what concerns the connection goes to standard error."""
    from vire_edge.mqtt.observer import Received

    while True:
        arrived = observer.receive(_IDLE_SECONDS)
        if isinstance(arrived, Received):
            print(_json_line(arrived) if as_json else _plain_line(arrived), flush=True)
        elif arrived is not None and not arrived.connected:
            print(f"vire-edge: {_in_own_words(arrived.detail, mqtt)}; trying again", file=sys.stderr, flush=True)
        if note := search.follow(arrived):
            print(f"vire-edge: {note}", file=sys.stderr, flush=True)


def _json_line(received: Received) -> str:
    payload = received.json()
    line = {
        "topic": received.topic,
        "payload": _text(received) if payload is None else payload,
        "retained": received.retained,
        "received_at": received.received_at.isoformat(),
    }
    return json.dumps(line, ensure_ascii=False)


def _plain_line(received: Received) -> str:
    retained = " (retained)" if received.retained else ""
    # Printable only: a topic or payload must not steer the terminal.
    text = "".join(
        character for character in f"{received.topic}{retained} {_text(received)}" if character.isprintable()
    )
    return f"{received.received_at.astimezone():%H:%M:%S} {text}"


def _text(received: Received) -> str:
    return received.payload.decode(errors="replace")


def _draw(observer: Observer, search: _Search, mqtt: MqttConfig, console: Console) -> None:
    """Draw what devices say, a few times a second at most."""
    from rich.live import Live

    from vire_edge.cli.live_view import LiveView
    from vire_edge.mqtt.observer import Received

    view = LiveView(mqtt.topic_prefix)
    view.note = f"Connecting to {mqtt.host}:{mqtt.effective_port} …"
    drawn_at = 0.0
    changed = True
    with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:
        while True:
            if changed and time.monotonic() - drawn_at >= _REDRAW_SECONDS:
                live.update(view.renderable(), refresh=True)
                drawn_at, changed = time.monotonic(), False
            arrived = observer.receive(_REDRAW_SECONDS if changed else _IDLE_SECONDS)
            changed = changed or arrived is not None
            if isinstance(arrived, Received):
                view.update(arrived.topic, arrived.json())
                view.note = ""
            elif arrived is not None:
                view.note = "" if arrived.connected else f"{_in_own_words(arrived.detail, mqtt)}; trying again"
            if note := search.follow(arrived):
                view.note, changed = note, True
