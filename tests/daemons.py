"""A real daemon in a process of its own, and someone who listens to it at a real broker."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

from vire_edge.config import MqttConfig
from vire_edge.domain import EMOTIONS, Message
from vire_edge.mqtt.observer import Observer, Received

PATIENCE_SECONDS = 30.0
DEVICE = "box"
CLIPS = Path(__file__).parents[2] / "shared" / "data" / "video"
ANYBODY = [{"kind": "spike", "name": "anybody", "emotions": list(EMOTIONS), "hold_seconds": 1}]
"""Rules that fire for every face, whatever it shows, until it has left."""


@dataclass
class Daemon:
    """`vire-edge run` with settings from the environment. A context manager: killed at the end if it still runs."""

    folder: Path
    settings: dict[str, Any]
    environment: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("VIRE_EDGE_")}
        environment |= {"VIRE_EDGE_DEVICE_ID": DEVICE, "VIRE_EDGE_STATE_DIR": str(self.folder)} | self.environment
        for key, value in self.settings.items():
            environment[f"VIRE_EDGE_{key.upper()}"] = value if isinstance(value, str) else json.dumps(value)
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "vire_edge", "run"], env=environment, stdout=log, stderr=log, cwd=self.folder
            )
        return self

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def send(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def stop(self) -> None:
        """Ask it to end; it must do so in an orderly way."""
        self.send(signal.SIGTERM)
        assert self.wait() == 0

    def wait(self, timeout_seconds: float = PATIENCE_SECONDS) -> int:
        assert self.process is not None
        return self.process.wait(timeout_seconds)

    @property
    def log_path(self) -> Path:
        return self.folder / "daemon.log"

    @property
    def log(self) -> str:
        return self.log_path.read_text()


class Listener:
    """Remembers everything that a device says."""

    def __init__(self, broker: MqttConfig) -> None:
        self._observer = Observer(broker, f"vire/{DEVICE}/#")
        self.received: list[tuple[str, dict[str, Any], bool]] = []

    def __enter__(self) -> Self:
        self._observer.start()
        self._observer.wait_subscribed(PATIENCE_SECONDS)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._observer.stop()

    def ask(self, verb: str, **arguments: object) -> None:
        self._observer.publish(Message(f"vire/{DEVICE}/command/{verb}", json.dumps(arguments).encode()))

    def wait_for(self, topic: str, matches: Callable[[dict[str, Any]], object] = bool) -> dict[str, Any]:
        """Return the first payload on a topic, from now on, that matches."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (left := deadline - time.monotonic()) > 0:
            message = self._observer.receive(left)
            if not isinstance(message, Received):
                continue
            payload = message.json()
            assert payload is not None
            short = message.topic.removeprefix(f"vire/{DEVICE}/")
            self.received.append((short, payload, message.retained))
            if short == topic and matches(payload):
                return payload
        pytest.fail(f"nothing on {topic} within {PATIENCE_SECONDS:.0f} s; received: {self.received[-5:]}")
