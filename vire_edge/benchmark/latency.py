"""From the capture of the frame on which an alert begins to the broker's PUBACK: the real daemon, disk and network.

What a rule asks to be held lies before that frame, so it is not in the figure.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from vire_edge.benchmark.daemon_cost import free_port
from vire_edge.benchmark.scenes import Scene, filmed
from vire_edge.benchmark.spread import Spread, spread
from vire_edge.benchmark.stages import Stopwatch
from vire_edge.camera import Script, SyntheticSource
from vire_edge.config import Config, MqttConfig
from vire_edge.daemon.service import build_daemon
from vire_edge.domain import Emotion, Instant, Message
from vire_edge.errors import BrokerError
from vire_edge.mqtt import MqttVersion
from vire_edge.mqtt.observer import Observer
from vire_edge.outbox import Outbox, Readdress

DEVICE = "benchmark"
PREFIX = "vire-benchmark"
"""Nobody's app may take these alerts for real ones."""
CAMERA = "benchmark"
FPS = 10.0
_LEAD_SECONDS = 3.0
"""Nobody is there while the connection is made: an alert that waits for it measures something else."""
_STEP_SECONDS = 1.2
_SHOWN = (Emotion.HAPPY, Emotion.SURPRISE, Emotion.ANGRY, Emotion.NEUTRAL)
"""What the model is surest of."""
_HOLDS = (0.2, 0.4)
PAGE_BYTES = 4096
"""Of SQLite's log, which holds an alert."""
_PAUSE_SECONDS = 0.1
_PLAYS = 5
"""How often they are shown in one round of the clip."""


@dataclass(frozen=True, slots=True)
class Latency:
    """How long alerts took, milliseconds."""

    alerts: int
    broker: str
    spread: Spread
    disk: Spread
    """Of a single write to the same disk: each alert is on it before anybody hears of it, so none is faster."""


class _Witness(Outbox):
    """An outbox that remembers when the frame of each alert was captured, and how much later it was acknowledged."""

    def __init__(self, folder: Path | None, capacity: int, boot: str) -> None:
        super().__init__(folder, capacity, boot)
        self._captured: dict[int, datetime] = {}
        self.milliseconds: list[float] = []
        self.each: Callable[[], None] = lambda: None
        """Called after each acknowledgement."""

    def append(self, messages: Sequence[Message], *, now: Instant, memory: Mapping[str, str] | None = None) -> None:
        """Keep alerts; called in the daemon's main loop alone."""
        super().append(messages, now=now, memory=memory)
        first = self.last_number - len(messages) + 1
        for number, message in enumerate(messages, first):
            payload = json.loads(message.payload)
            if payload["event"] == "started":
                self._captured[number] = datetime.fromisoformat(payload["at"])

    def acknowledge(self, numbers: Iterable[int]) -> int:
        """Forget what the broker has acknowledged; called in the connection's thread alone."""
        now, numbers = datetime.now(UTC), list(numbers)
        for number in numbers:
            if (captured := self._captured.pop(number, None)) is not None:
                self.milliseconds.append(1000 * (now - captured).total_seconds())
                self.each()
        return super().acknowledge(numbers)


def measure_latency(alerts: int, folder: Path, broker: MqttConfig | None = None) -> Latency:
    """Raise alerts on an actor who changes expression every second, in real time.

    Args:
        alerts: how many to wait for.
        folder: for the clip and the daemon's state; on a disk, as alerts are written to it.
        broker: that of others; None for the daemon's own.

    Raises:
        BrokerError: it does not let us in.
        VireError: the clip cannot be written, or the daemon does not start.
    """
    clip = folder / "alerts.avi"
    play = Script.solo((_LEAD_SECONDS, None), *((_STEP_SECONDS, shown) for shown in _SHOWN * _PLAYS))
    filmed(Scene("alerts", "", SyntheticSource(play, fps=FPS)), clip, fps=FPS, seconds=play.seconds)
    config = Config.model_validate(_settings(clip, folder, broker))
    witnesses: list[_Witness] = []

    def open_outbox(place: Path | None, capacity: int, now: Instant, readdress: Readdress) -> Outbox:
        witnesses.append(_Witness.open(place, capacity, now, readdress))
        return witnesses[-1]

    wake = threading.Event()
    with ExitStack() as running:
        daemon = build_daemon(config, wake, running, open_outbox=open_outbox)
        (witness,) = witnesses
        measured = witness.milliseconds
        running.push(daemon)
        daemon.start()
        _subscribe(config, broker, running)
        rounds = 1 + alerts / (len(_SHOWN) * _PLAYS)
        deadline = threading.Timer(rounds * play.seconds, daemon.request_stop)
        running.callback(deadline.cancel)
        deadline.start()
        witness.each = lambda: daemon.request_stop() if len(measured) >= alerts else None
        daemon.run()
    if not measured:
        raise BrokerError("no alert was acknowledged; look closer with: vire-edge doctor")
    name = "the embedded broker" if broker is None else f"{broker.host}:{broker.effective_port}"
    return Latency(len(measured), name, spread(measured), measure_disk(folder, len(measured)))


def measure_disk(folder: Path, writes: int) -> Spread:
    """Write a page and wait until it is on the disk, again and again.

    Args:
        folder: on that disk.
        writes: how often, with pauses, for a disk that is never idle is another one.

    Returns:
        Milliseconds of each write.
    """
    milliseconds = []
    with (folder / "page").open("wb", buffering=0) as file:
        for _ in range(writes):
            time.sleep(_PAUSE_SECONDS)
            watch = Stopwatch()
            file.write(bytes(PAGE_BYTES))
            os.fsync(file.fileno())
            milliseconds.append(watch.read().milliseconds)
    return spread(milliseconds)


def _settings(clip: Path, folder: Path, broker: MqttConfig | None) -> dict[str, Any]:
    rules = [
        {
            "kind": "spike",
            "name": f"{emotion}-{round(10 * hold)}",
            "emotions": [emotion],
            "score": 0.5,
            "hold_seconds": hold,
            "cooldown_seconds": 0,
        }
        for emotion in _SHOWN
        for hold in _HOLDS
    ]
    return {
        "device_id": DEVICE,
        "state_dir": folder / "state",
        "cameras": [{"name": CAMERA, "source": str(clip), "fps": FPS, "loop": True}],
        "smoothing": {"time_constant_seconds": 0.2},
        "alerts": rules,
        "mqtt": (broker or MqttConfig()).model_copy(update={"topic_prefix": PREFIX}),
        "broker": {"port": free_port()},
    }


def _subscribe(config: Config, broker: MqttConfig | None, running: ExitStack) -> None:
    """Somebody has to be there: an alert that nobody hears is kept, and a broker says so."""
    reached = broker or MqttConfig(host="127.0.0.1", port=config.broker.port)
    version = MqttVersion.V5 if broker else MqttVersion.V311
    observer = running.enter_context(Observer(reached, f"{PREFIX}/{DEVICE}/alerts", first_version=version))
    observer.wait_subscribed(_LEAD_SECONDS)
