"""Watches topics from outside: for `watch`, `demo` and tests. Follows a broker through restarts."""

from __future__ import annotations

import contextlib
import json
import queue
import secrets
import threading
import time
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from vire_edge.config import MqttConfig
from vire_edge.domain import Message
from vire_edge.errors import BrokerError
from vire_edge.mqtt.bell import Bell
from vire_edge.mqtt.dialing import Dialer, RetryPolicy
from vire_edge.mqtt.events import ConnectionStatus, MqttVersion
from vire_edge.mqtt.failures import Failure, LinkError
from vire_edge.mqtt.link import Link

MAX_WAITING = 10_000
"""Messages that wait to be looked at; further ones are dropped, and `Observer.dropped` counts them."""
_TICK_SECONDS = 1.0
_STOP_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Received:
    """One message."""

    topic: str
    payload: bytes
    retained: bool
    """Whether the broker had kept it from before."""
    received_at: datetime
    """Aware, UTC."""

    def json(self) -> dict[str, Any] | None:
        """The payload as a JSON object; None when it is none."""
        try:
            value = json.loads(self.payload)
        except (ValueError, RecursionError):
            return None
        return value if isinstance(value, dict) else None


@dataclass(frozen=True, slots=True)
class LinkChanged:
    """The connection to the broker stands, or is gone and will be tried again."""

    connected: bool
    detail: str
    """The MQTT version, or why there is no connection."""


class Observer:
    """Subscribes and hands over what comes. A context manager: connects on entry, closes on exit."""

    def __init__(
        self,
        config: MqttConfig,
        *filters: str,
        client_id: str | None = None,
        first_version: MqttVersion = MqttVersion.V5,
        policy: RetryPolicy | None = None,
    ) -> None:
        """Prepare an observer.

        Args:
            config: the broker; `host` must be set.
            filters: what to subscribe to, such as `vire/+/#`.
            client_id: our name at the broker; left out, a random one.
            first_version: what to speak first.
            policy: how patiently to try again.
        """
        self.dropped = 0
        """Messages that came faster than they were looked at."""
        self._filters = filters
        self._dialer = Dialer(
            config,
            client_id=client_id or f"vire-watch-{secrets.token_hex(4)}",
            policy=policy or RetryPolicy(limit_seconds=5.0),
            first_version=first_version,
        )
        self._arrived: queue.SimpleQueue[Received | LinkChanged | LinkError] = queue.SimpleQueue()
        self._outgoing: deque[Message] = deque()
        self._bell = Bell()
        self._stopping = threading.Event()
        self._subscribed = threading.Event()
        self._last_failure: Failure | None = None
        self._fatal: LinkError | None = None
        self._thread = threading.Thread(target=self._run, name="mqtt-observer", daemon=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Begin to connect, in the background.

        Raises:
            ConfigError: a TLS file is missing or broken.
        """
        self._dialer.check()
        self._thread.start()

    def stop(self) -> None:
        """Disconnect."""
        self._stopping.set()
        if self._thread.ident is None:
            self._bell.close()
            return
        with contextlib.suppress(OSError):  # closed by an earlier stop
            self._bell.ring()
        self._thread.join(_STOP_SECONDS)
        if not self._thread.is_alive():
            self._bell.close()

    def wait_subscribed(self, timeout_seconds: float) -> None:
        """Wait until messages can arrive.

        Raises:
            BrokerError: the broker refuses us, or does not accept within the time.
        """
        deadline = time.monotonic() + timeout_seconds
        while not self._subscribed.wait(0.05):
            if self._fatal is not None:
                raise self._fatal
            if time.monotonic() >= deadline:
                reason = "it does not answer" if self._last_failure is None else self._last_failure.reason
                raise BrokerError(f"no connection to the broker within {timeout_seconds:.0f} s: {reason}")

    def receive(self, timeout_seconds: float) -> Received | LinkChanged | None:
        """What came next; None when nothing does in time.

        Raises:
            BrokerError: the broker refuses the login, the certificate or the subscription: nothing more will come.
        """
        try:
            arrived = self._arrived.get(timeout=timeout_seconds)
        except queue.Empty:
            return None
        if isinstance(arrived, LinkError):
            raise arrived
        return arrived

    def publish(self, message: Message) -> None:
        """Send a message, such as a command, once the connection stands."""
        self._outgoing.append(message)
        self._bell.ring()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._follow()
            except LinkError as error:
                self._subscribed.clear()
                if error.failure.patient:
                    self._fatal = error
                    self._arrived.put(error)
                    return
                if error.failure != self._last_failure:
                    self._last_failure = error.failure
                    self._arrived.put(LinkChanged(connected=False, detail=error.failure.reason))
                self._stopping.wait(self._dialer.wait_seconds(error.failure))

    def _follow(self) -> None:
        link, accepted = self._dialer.dial(cancelled=self._stopping.is_set)
        self._dialer.held()
        for topic_filter in self._filters:
            link.subscribe(topic_filter)
        granted = 0
        while not self._stopping.is_set():
            while self._outgoing:
                link.publish(self._outgoing.popleft())
            link.pump(_TICK_SECONDS, self._bell)
            while link.subscribed:
                granted += self._is_granted(*link.subscribed.popleft())
                if granted == len(self._filters):
                    self._last_failure = None
                    self._arrived.put(LinkChanged(connected=True, detail=f"MQTT {accepted.version.value}"))
                    self._subscribed.set()
            self._take(link)
            link.acknowledged.clear()
        link.close(timeout_seconds=_STOP_SECONDS / 2)

    def _is_granted(self, code: int, name: str) -> bool:
        if code >= 128:
            raise LinkError(
                Failure(
                    ConnectionStatus.LOGIN,
                    f"the broker refuses the subscription to {', '.join(self._filters)} ({name}); "
                    "allow this user to read there",
                )
            )
        return True

    def _take(self, link: Link) -> None:
        while link.received:
            message = link.received.popleft()
            try:
                topic = message.topic
            except UnicodeDecodeError:
                continue
            if self._arrived.qsize() >= MAX_WAITING:
                self.dropped += 1
                continue
            self._arrived.put(Received(topic, bytes(message.payload), bool(message.retain), datetime.now(UTC)))
