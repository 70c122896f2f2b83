"""What the fault tests share: a face that never rests, a caregiver who misses nothing, a network that fails."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import cv2
import paho.mqtt.client as mqtt
from brokers import Mosquitto, wait_until
from daemons import DEVICE, Daemon
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from vire_edge.camera.script import Script
from vire_edge.camera.synthetic import SyntheticSource
from vire_edge.domain import EMOTIONS, Emotion, Severity

PATIENCE_SECONDS = 60.0
"""For what has no deadline of its own, such as a daemon's start beside everything else that a machine does."""
eventually = partial(wait_until, timeout_seconds=PATIENCE_SECONDS)

LIVELY = Script.solo(
    *[
        (0.5, emotion)
        for emotion in (
            *(Emotion.HAPPY, Emotion.SURPRISE, Emotion.NEUTRAL, Emotion.ANGRY),
            *(Emotion.HAPPY, Emotion.SAD, Emotion.SURPRISE, Emotion.FEAR),
        )
    ]
    * 3
)
"""Somebody whose expression changes twice a second."""
FRAME_RATE = 10.0
SCENE_SIZE = 160, 120
"""The smallest in which a face is large enough to be judged: a frame takes some eight milliseconds."""

AT_ONCE = [
    {
        "kind": "spike",
        "name": f"{emotion}-{score * 100:.0f}",
        "emotions": [emotion],
        "score": score,
        "clear_score": score,
        "severity": severity,
        "hold_seconds": 0,
        "cooldown_seconds": 0,
    }
    for emotion in EMOTIONS
    for score, severity in ((0.3, Severity.INFO), (0.5, Severity.WARNING), (0.7, Severity.CRITICAL))
]
"""Rules that fire and clear with the picture: about eleven events a second for `LIVELY`."""


def record(path: Path, script: Script, *, size: tuple[int, int] = SCENE_SIZE) -> Path:
    """Film the actor, so that the processor need not draw while a test runs."""
    actor = SyntheticSource(script, *size, FRAME_RATE)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), FRAME_RATE, size)
    for number in range(int(script.seconds * FRAME_RATE)):
        writer.write(actor.image_at(number / FRAME_RATE))
    writer.release()
    return path


def restless(folder: Path, port: int, **changes: Any) -> dict[str, Any]:
    """Settings of a daemon that raises alerts without end.

    Args:
        folder: where the recording lies or is made.
        port: the broker's.
        changes: to the settings.
    """
    scene = folder / "lively.avi"
    if not scene.exists():
        record(scene, LIVELY)
    return {
        "mqtt__host": "127.0.0.1",
        "mqtt__port": str(port),
        # Eleven a second outgrow the default of a thousand while a connection breaks every few seconds.
        "mqtt__max_queued_alerts": "20000",
        "cameras": [{"name": "room", "source": str(scene), "loop": True, "fps": FRAME_RATE}],
        "alerts": AT_ONCE,
        "smoothing__time_constant_seconds": "0.1",
        "quality__min_sharpness": "0",
        "health__interval_seconds": "1",
    } | changes


@dataclass(frozen=True, slots=True)
class Heard:
    """A message at the caregiver's."""

    topic: str
    """Without the device's prefix."""
    payload: dict[str, Any]
    retained: bool
    at: float
    """Monotonic seconds."""


class Caregiver:
    """Subscribes with a session that outlives the absences of both sides; keeps what it hears, in order."""

    def __init__(self, port: int, *, name: str = "caregiver", lasting: bool = True) -> None:
        """Prepare the client.

        Args:
            port: the broker's.
            name: the client id.
            lasting: whether the broker keeps what comes while the caregiver is away.
        """
        self.heard: list[Heard] = []
        self._port = port
        self._lasting = lasting
        self._subscribed = threading.Event()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=name, protocol=mqtt.MQTTv5)
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = self._connected
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_disconnect = lambda *_: self._subscribed.clear()
        self._client.on_message = self._receive

    def __enter__(self) -> Self:
        session = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        session.SessionExpiryInterval = 3600 if self._lasting else 0
        self._client.connect("127.0.0.1", self._port, clean_start=not self._lasting, properties=session)
        self._client.loop_start()
        self.wait_until_subscribed()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def wait_until_subscribed(self) -> None:
        """Wait until messages can arrive."""
        wait_until(self._subscribed.is_set, what="the caregiver's subscription")

    @property
    def alerts(self) -> list[dict[str, Any]]:
        """The episodes' news, repeats included."""
        return [heard.payload for heard in list(self.heard) if heard.topic == "alerts"]

    def ask(self, verb: str, **arguments: object) -> None:
        """Send a command."""
        self._client.publish(f"vire/{DEVICE}/command/{verb}", json.dumps(arguments), qos=1)

    def newest(self, topic: str) -> dict[str, Any] | None:
        """Return what a topic showed last."""
        return next((heard.payload for heard in reversed(list(self.heard)) if heard.topic == topic), None)

    def wait_for(
        self, topic: str, what: str, *, timeout_seconds: float = PATIENCE_SECONDS, **expected: object
    ) -> dict[str, Any]:
        """Wait until a topic's newest payload has the expected values."""

        def shows() -> bool:
            payload = self.newest(topic)
            return payload is not None and all(payload[key] == value for key, value in expected.items())

        wait_until(shows, what=f"{what}; {topic} shows {self.newest(topic)}", timeout_seconds=timeout_seconds)
        payload = self.newest(topic)
        assert payload is not None
        return payload

    def _connected(self, client: mqtt.Client, *_: object) -> None:
        # Again after each reconnect: a broker that has lost its data has lost the subscription, too.
        client.subscribe(f"vire/{DEVICE}/#", qos=1)

    def _receive(self, _client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        topic = message.topic.removeprefix(f"vire/{DEVICE}/")
        if not topic.startswith("command/"):
            self.heard.append(Heard(topic, json.loads(message.payload), message.retain, time.monotonic()))


News = tuple[str, str]
"""An episode's id and what became of it: started, updated or ended."""


def log_lines(daemon: Daemon) -> list[dict[str, Any]]:
    """Return what the daemon has logged; a line that a kill has cut short was not."""
    lines = []
    for line in daemon.log.splitlines():
        try:
            lines.append(json.loads(line))
        except ValueError:
            continue
    return lines


def raised(daemon: Daemon) -> list[News]:
    """Return the news that the daemon has logged, in order: all of it must arrive."""
    return [
        (line["alert_id"], line["event"].removeprefix("alert "))
        for line in log_lines(daemon)
        if line["event"] in {"alert started", "alert updated", "alert ended"}
    ]


def arrived(alerts: Iterable[dict[str, Any]]) -> set[News]:
    """Return the news that a caregiver has heard."""
    return {(alert["alert_id"], alert["event"]) for alert in alerts}


def check_episodes(alerts: Iterable[dict[str, Any]], *, all_ended: bool) -> int:
    """Check that each episode is told in order and to its end once repeats are dropped; return how many repeats."""
    episodes: dict[str, list[dict[str, Any]]] = {}
    repeats = 0
    for alert in alerts:
        told = episodes.setdefault(alert["alert_id"], [])
        if alert["sequence"] in [earlier["sequence"] for earlier in told]:
            repeats += 1
        else:
            told.append(alert)
    for alert_id, told in episodes.items():
        assert [alert["sequence"] for alert in told] == list(range(len(told))), f"{alert_id} out of order: {told}"
        assert told[0]["event"] == "started"
        assert [alert["event"] for alert in told[:-1]].count("ended") == 0
        if all_ended:
            assert told[-1]["event"] == "ended", f"{alert_id} stays open: {told[-1]}"
    return repeats


def wait_until_all_arrived(daemon: Daemon, caregiver: Caregiver) -> None:
    """Wait for everything that was raised so far."""
    expected = set(raised(daemon))

    def missing() -> set[News]:
        return expected - arrived(caregiver.alerts)

    deadline = time.monotonic() + PATIENCE_SECONDS
    while missing() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not missing(), f"{len(missing())} of {len(expected)} were raised and never arrived, one is {missing().pop()}"


CHANGING = ("state/room", "alerts/active", "health")
"""Topics that show something new every second or more often."""


def seconds_until_topics_are_right(
    broker: Mosquitto, expected: Iterable[str], since: datetime, *, limit_seconds: float = 10.0
) -> float:
    """Wait, as an app does that opens now, until every retained topic shows what is so.

    Args:
        broker: where to look.
        expected: the topics that must be there.
        since: when the fault was over.
        limit_seconds: how long that may take.
    """
    with Caregiver(broker.port, name="late", lasting=False) as late:

        def right() -> bool:
            shown = {topic: payload for topic in expected if (payload := late.newest(topic)) is not None}
            return (
                shown.keys() == set(expected)
                and shown["availability"]["status"] == shown["camera/room"]["status"] == "online"
                and all(datetime.fromisoformat(shown[topic]["at"]) >= since for topic in CHANGING)
            )

        left = limit_seconds - (now() - since).total_seconds()
        wait_until(right, what=f"{sorted(expected)} are right", timeout_seconds=left)
    return (now() - since).total_seconds()


def now() -> datetime:
    """This moment."""
    return datetime.now(UTC)
