"""The daemon's connection to the broker: states and alerts out, commands in, on a thread of its own.

`publish` never fails: of a retained state only the newest is kept. An alert is kept in its store
until the broker has acknowledged it. What happens comes back as events; the daemon answers
`Connected` by publishing its birth and every state anew.

Everything that a connection knows of what it has sent is its own: one whose thread stands still
can be stopped without waiting and replaced by another on the same store.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable

import structlog

from vire_edge.clock import read_clocks
from vire_edge.config import MqttConfig
from vire_edge.domain import Message
from vire_edge.mqtt.bell import Bell
from vire_edge.mqtt.dialing import Dialer, RetryPolicy
from vire_edge.mqtt.events import Connected, ConnectionStats, ConnectionStatus, MqttEvent, MqttVersion
from vire_edge.mqtt.failures import Failure, LinkError
from vire_edge.mqtt.hearing import PROBE_SECONDS, REFUSED
from vire_edge.mqtt.inbox import Inbox
from vire_edge.mqtt.link import Accepted, Link
from vire_edge.mqtt.outbound import AlertStore, Outbound
from vire_edge.mqtt.standing import Standing

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
        alerts: AlertStore,
        first_version: MqttVersion = MqttVersion.V5,
        policy: RetryPolicy | None = None,
        probe_seconds: float = PROBE_SECONDS,
        events: queue.SimpleQueue[MqttEvent] | None = None,
    ) -> None:
        """Prepare the connection.

        Args:
            config: the broker; `host` must be set.
            client_id: our name at the broker; no other client may have it.
            command_filter: where commands come in, such as `vire/hall/command/+`.
            will: makes what the broker publishes when this device is gone without a word; asked at each connect.
            wake: set with each event.
            alerts: keeps the alerts.
            first_version: what to speak first; the embedded broker speaks 3.1.1.
            policy: how patiently to try again.
            probe_seconds: while alerts wait and nobody is subscribed, how often to try whether somebody has come.
            events: of the connection whose place this one takes, with what nobody has read yet.
        """
        self._command_filter = command_filter
        self._policy = policy or RetryPolicy()
        self._dialer = Dialer(config, client_id=client_id, will=will, policy=self._policy, first_version=first_version)
        self._outbound = Outbound(alerts, probe_seconds=probe_seconds)
        self._inbox = Inbox(command_filter, wake, events)
        self._bell = Bell()
        self._stopping = threading.Event()
        self._deadline = float("inf")
        self._grace_seconds = 0.0
        self._final: Message | None = None
        self._thread = threading.Thread(target=self._run, name="mqtt", daemon=True)
        self._standing = Standing(config, client_id, short_connections=self._policy.short_connections)
        self._last_progress = time.monotonic()

    @property
    def events(self) -> queue.SimpleQueue[MqttEvent]:
        """What happened, in order; empty it after each wake."""
        return self._inbox.events

    @property
    def alive(self) -> bool:
        """Whether the thread runs; False before `start` and after `stop`."""
        return self._thread.is_alive()

    @property
    def last_progress(self) -> float:
        """When the thread last took a step, monotonic seconds.

        Connected or not it takes one every second; only looking up a name and opening a transport take longer,
        and a store whose disk hangs.
        """
        return self._last_progress

    def start(self) -> None:
        """Begin to connect. Neither blocks nor fails when the broker is away.

        Raises:
            ConfigError: a TLS file is missing or broken.
        """
        self._dialer.check()
        self._thread.start()

    def publish(self, message: Message, *, correlation_data: bytes | None = None) -> None:
        """Send a message as soon as possible, whether or not there is a connection; may be called from any thread.

        Args:
            message: a retained one replaces what waits on its topic; any other is an answer, kept in memory until the
                broker acknowledges it. An alert goes to its store instead.
            correlation_data: of the command that this one answers (MQTT 5).
        """
        self._outbound.put(message, now=read_clocks(), correlation_data=correlation_data)
        self._wake()

    def deliver(self) -> None:
        """Look into the alerts' store now: something was appended to it."""
        self._outbound.news()
        self._wake()

    def stats(self) -> ConnectionStats:
        """The figures for `health`."""
        return ConnectionStats(
            status=self._standing.status,
            version=self._standing.version,
            last_error=self._standing.last_error or self._outbound.refusal,
            queued=self._outbound.queued,
            delivered=self._outbound.delivered,
            unheard=self._outbound.unheard,
            reconnects=max(0, self._standing.connections - 1),
            ignored_commands=self._inbox.ignored,
        )

    def stop(self, final: Message | None, *, timeout_seconds: float) -> bool:
        """Deliver what waits as far as the time allows, publish `final`, and disconnect.

        Without a connection one more attempt is made at once.

        Args:
            final: the retained `stopped`; the broker then keeps the last will to itself. None for
                an end that is no clean one: the broker publishes the last will.
            timeout_seconds: for all of it; 0 leaves a thread that stands still to itself.

        Returns:
            Whether the thread ended in time; a second call does nothing. One that is left behind ends as soon as
            it can, without sending anything more.
        """
        if self._stopping.is_set() and not self.alive:
            return True
        self._final = final
        self._grace_seconds = min(1.0, timeout_seconds / 4)
        self._deadline = time.monotonic() + timeout_seconds
        self._stopping.set()
        self._wake()
        if self._thread.ident is not None:
            self._thread.join(timeout_seconds + _JOIN_GRACE_SECONDS)
        if self._thread.is_alive():
            log.warning("mqtt_thread_left_behind", waited_seconds=timeout_seconds, queued=self._outbound.queued)
            return False
        self._bell.close()  # again, unless it never ran
        self._standing.status = ConnectionStatus.STOPPED
        if self._outbound.queued:
            reason = "nobody is subscribed to them" if self._outbound.unheard else self._standing.last_error
            log.warning("alerts_undelivered", count=self._outbound.queued, reason=reason)
        return True

    @property
    def _cut_short(self) -> bool:
        """Whether we stop without a word."""
        return self._stopping.is_set() and self._final is None

    def _wake(self) -> None:
        with contextlib.suppress(OSError):  # the thread has ended
            self._bell.ring()

    def _run(self) -> None:
        with contextlib.closing(self._bell):
            self._keep_connected()

    def _keep_connected(self) -> None:
        while not self._cut_short:
            last_try = self._stopping.is_set()
            failure = self._converse()
            if failure is None or self._cut_short:  # what we break off ourselves tells nothing of the broker
                return
            self._standing.failed(failure)
            if last_try:
                return
            self._rest(self._dialer.wait_seconds(failure))

    def _rest(self, seconds: float) -> None:
        """Wait before the next try, and be seen to."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and not self._stopping.wait(min(_TICK_SECONDS, left)):
            self._last_progress = time.monotonic()

    def _is_late(self) -> bool:
        """Asked while we dial."""
        self._last_progress = time.monotonic()
        return self._cut_short or self._last_progress >= self._deadline

    def _is_stopping(self) -> bool:
        """Asked while we dial beside a connection that stands."""
        return self._is_late() or self._stopping.is_set()

    def _converse(self) -> Failure | None:
        """Hold one connection from its beginning to its end; None when it ended because we stop."""
        left = max(0.1, min(60.0, self._deadline - time.monotonic()))
        self._last_progress = time.monotonic()
        try:
            link, accepted = self._dialer.dial(
                cancelled=self._is_late, timeout_seconds=left if self._stopping.is_set() else None
            )
        except LinkError as error:
            return error.failure
        finally:
            self._last_progress = time.monotonic()
        if self._cut_short:
            link.abandon()
            return None
        self._greet(link, accepted)
        began, held = time.monotonic(), False
        try:
            while not self._stopping.is_set():
                self._exchange(link, _TICK_SECONDS)
                if not held and time.monotonic() - began >= self._policy.stable_seconds:
                    held = True
                    self._standing.held(accepted)
                    self._dialer.held()
                if (newer := self._dialer.ask_for_5(cancelled=self._is_stopping)) is not None:
                    self._leave(link)
                    (link, accepted), began, held = newer, time.monotonic(), False
                    self._greet(link, accepted)
            self._say_goodbye(link)
        except LinkError as error:
            self._collect(link)
            self._outbound.disconnected()
            return self._standing.broke(error.failure, held=held)
        return None

    def _greet(self, link: Link, accepted: Accepted) -> None:
        self._standing.accepted(accepted)
        link.subscribe(self._command_filter, retain_as_published=True)
        self._outbound.connected(accepted)
        self._inbox.connected()
        self._inbox.put(Connected())

    def _leave(self, link: Link) -> None:
        """Let go of a connection whose place another has taken, after reading what it still brought."""
        with contextlib.suppress(LinkError):  # the broker has ended it
            link.pump(0.0)
        self._collect(link)
        link.abandon()
        self._outbound.disconnected()

    def _exchange(self, link: Link, timeout_seconds: float) -> None:
        self._last_progress = time.monotonic()
        self._outbound.send(link, time.monotonic())
        link.pump(timeout_seconds, self._bell)
        self._collect(link)

    def _collect(self, link: Link) -> None:
        answers = list(link.acknowledged)
        link.acknowledged.clear()
        self._outbound.acknowledged(answers)
        while link.received:
            self._inbox.receive(link.received.popleft())
        while link.subscribed:
            code, name = link.subscribed.popleft()
            if code >= REFUSED:
                self._standing.refused_to_subscribe(self._command_filter, name)

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
