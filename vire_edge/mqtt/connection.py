"""The daemon's connection to the broker: states and alerts out, commands in, on a thread of its own.

`publish` never blocks and never fails: of a retained state only the newest is kept, an alert is
kept until the broker has acknowledged it. What happens comes back as events; the daemon answers
`Connected` by publishing its birth and every state anew.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable

import structlog

from vire_edge.config import MqttConfig
from vire_edge.domain import Message
from vire_edge.mqtt import failures
from vire_edge.mqtt.bell import Bell
from vire_edge.mqtt.dialing import Dialer, RetryPolicy
from vire_edge.mqtt.events import Connected, ConnectionStats, ConnectionStatus, Disconnected, MqttEvent, MqttVersion
from vire_edge.mqtt.failures import Failure, LinkError
from vire_edge.mqtt.inbox import Inbox
from vire_edge.mqtt.link import Accepted, Link
from vire_edge.mqtt.outbound import Outbound

_TICK_SECONDS = 1.0
"""The longest sleep of the thread: keep-alives are checked in between."""
_JOIN_GRACE_SECONDS = 0.5

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class MqttConnection:
    """Connects, reconnects and delivers. Owned by the daemon's main loop."""

    def __init__(
        self,
        config: MqttConfig,
        *,
        client_id: str,
        command_filter: str,
        will: Callable[[], Message],
        wake: threading.Event,
        first_version: MqttVersion = MqttVersion.V5,
        policy: RetryPolicy | None = None,
    ) -> None:
        """Prepare the connection.

        Args:
            config: the broker; `host` must be set.
            client_id: our name at the broker; no other client may have it.
            command_filter: where commands come in, such as `vire/hall/command/+`.
            will: makes what the broker publishes when this device is gone without a word; asked at each connect.
            wake: set with each event.
            first_version: what to speak first; the embedded broker speaks 3.1.1.
            policy: how patiently to try again.
        """
        self._config = config
        self._client_id = client_id
        self._command_filter = command_filter
        self._policy = policy or RetryPolicy()
        self._dialer = Dialer(config, client_id=client_id, will=will, policy=self._policy, first_version=first_version)
        self._outbound = Outbound(config.max_queued_alerts)
        self._inbox = Inbox(command_filter, wake)
        self._bell = Bell()
        self._stopping = threading.Event()
        self._deadline = float("inf")
        self._grace_seconds = 0.0
        self._final: Message | None = None
        self._thread = threading.Thread(target=self._run, name="mqtt", daemon=True)
        self._status = ConnectionStatus.CONNECTING
        self._version: MqttVersion | None = None
        self._last_error = ""
        self._connections = 0
        self._announced: Failure | None = None
        self._short_connections = 0

    @property
    def events(self) -> queue.SimpleQueue[MqttEvent]:
        """What happened, in order; empty it after each wake."""
        return self._inbox.events

    @property
    def alive(self) -> bool:
        """Whether the thread runs; False before `start` and after `stop`."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Begin to connect. Neither blocks nor fails when the broker is away.

        Raises:
            ConfigError: a TLS file is missing or broken.
        """
        self._dialer.check()
        self._thread.start()

    def publish(self, message: Message, *, correlation_data: bytes | None = None) -> None:
        """Send a message as soon as possible. Never blocks; may be called from any thread.

        Args:
            message: a retained one replaces what waits on its topic; any other is queued until the
                broker acknowledges it, at most `max_queued_alerts` of them.
            correlation_data: of the command that this one answers (MQTT 5).
        """
        self._outbound.put(message, now=time.monotonic(), correlation_data=correlation_data)
        if not self._stopping.is_set():
            self._bell.ring()

    def stats(self) -> ConnectionStats:
        """The figures for `health`."""
        return ConnectionStats(
            status=self._status,
            version=self._version,
            last_error=self._last_error or self._outbound.refusal,
            queued=self._outbound.queued,
            in_flight=self._outbound.in_flight,
            delivered=self._outbound.delivered,
            dropped=self._outbound.dropped,
            unheard=self._outbound.unheard,
            reconnects=max(0, self._connections - 1),
            ignored_commands=self._inbox.ignored,
        )

    def stop(self, final: Message | None, *, timeout_seconds: float) -> bool:
        """Deliver what waits as far as the time allows, publish `final`, and disconnect.

        Without a connection one more attempt is made at once.

        Args:
            final: the retained `stopped`; the broker then keeps the last will to itself. None for
                an end that is no clean one: the broker publishes the last will.
            timeout_seconds: for all of it.

        Returns:
            Whether the thread ended in time; a second call does nothing.
        """
        if self._stopping.is_set() and not self.alive:
            return True
        self._final = final
        self._grace_seconds = min(1.0, timeout_seconds / 4)
        self._deadline = time.monotonic() + timeout_seconds
        self._stopping.set()
        self._bell.ring()
        if self._thread.ident is not None:
            self._thread.join(timeout_seconds + _JOIN_GRACE_SECONDS)
        if self._thread.is_alive():
            log.warning("mqtt_thread_left_behind", waited_seconds=timeout_seconds, queued=self._outbound.queued)
            return False
        self._bell.close()
        self._status = ConnectionStatus.STOPPED
        if self._outbound.queued:
            log.warning("alerts_undelivered", count=self._outbound.queued, reason=self._last_error)
        return True

    def _run(self) -> None:
        while True:
            last_try = self._stopping.is_set()
            failure = self._converse()
            if failure is None:
                return
            self._note(failure)
            if last_try or (self._stopping.is_set() and self._final is None):
                return
            self._stopping.wait(self._dialer.wait_seconds(failure))

    def _converse(self) -> Failure | None:
        """Hold one connection from its beginning to its end; None when it ended because we stop."""
        left = max(0.1, min(60.0, self._deadline - time.monotonic()))
        try:
            link, accepted = self._dialer.dial(
                cancelled=lambda: time.monotonic() >= self._deadline,
                timeout_seconds=left if self._stopping.is_set() else None,
            )
        except LinkError as error:
            return error.failure
        self._greet(link, accepted)
        began, held = time.monotonic(), False
        try:
            while not self._stopping.is_set():
                self._exchange(link, _TICK_SECONDS)
                if not held and time.monotonic() - began >= self._policy.stable_seconds:
                    held = True
                    self._settle(accepted)
            self._say_goodbye(link)
        except LinkError as error:
            self._collect(link)
            self._outbound.disconnected()
            self._short_connections = 0 if held else self._short_connections + 1
            if (
                error.failure.status is ConnectionStatus.LOST
                and self._short_connections >= self._policy.short_connections
            ):
                return failures.from_instability(self._config, self._client_id)
            return error.failure
        return None

    def _greet(self, link: Link, accepted: Accepted) -> None:
        self._connections += 1
        self._status, self._version, self._last_error = ConnectionStatus.CONNECTED, accepted.version, ""
        if not self._short_connections:
            log.info("broker_connected", broker=failures.address(self._config), mqtt=accepted.version.value)
        link.subscribe(self._command_filter, retain_as_published=True)
        self._outbound.connected(accepted)
        self._inbox.connected()
        self._inbox.put(Connected(accepted.version, accepted.session_present))

    def _settle(self, accepted: Accepted) -> None:
        if self._short_connections:
            log.info("broker_connected", broker=failures.address(self._config), mqtt=accepted.version.value)
        self._short_connections = 0
        self._announced = None
        self._dialer.held()

    def _exchange(self, link: Link, timeout_seconds: float) -> None:
        self._outbound.send(link, time.monotonic())
        link.pump(timeout_seconds, self._bell)
        self._collect(link)

    def _collect(self, link: Link) -> None:
        while link.acknowledged:
            self._outbound.acknowledged(link.acknowledged.popleft())
        while link.received:
            self._inbox.receive(link.received.popleft())
        while link.subscribed:
            code, name = link.subscribed.popleft()
            if code >= 128:
                self._last_error = (
                    f'the broker refuses the subscription to "{self._command_filter}" ({name}), so no command arrives; '
                    "allow this user to read there"
                )
                log.warning("subscription_refused", reason=self._last_error)

    def _say_goodbye(self, link: Link) -> None:
        if self._final is None:
            link.abandon()
            return
        self._outbound.forget(self._final.topic)
        while not self._outbound.idle(now := time.monotonic()) and now < self._deadline - self._grace_seconds:
            self._exchange(link, min(_TICK_SECONDS, self._deadline - self._grace_seconds - now))
        number = link.publish(self._final)
        taken = False
        while not taken and (left := self._deadline - time.monotonic()) > 0:
            taken = any(answer.number == number for answer in link.acknowledged)
            if not taken:
                self._collect(link)
                link.pump(min(_TICK_SECONDS, left), self._bell)
        self._collect(link)
        link.close(timeout_seconds=max(0.1, self._deadline - time.monotonic()))

    def _note(self, failure: Failure) -> None:
        """Remember why there is no connection; say it once for as long as it stays the same."""
        if self._status is ConnectionStatus.CONNECTED:
            self._inbox.put(Disconnected(failure.reason))
        self._status, self._version, self._last_error = failure.status, None, failure.reason
        if failure != self._announced:
            self._announced = failure
            log.warning("broker_unavailable", status=failure.status.value, reason=failure.reason)
