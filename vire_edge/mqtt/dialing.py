"""Which MQTT version to try, and how long to wait before the next try."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from vire_edge.config import MqttConfig
from vire_edge.domain import Message
from vire_edge.errors import ConfigError
from vire_edge.mqtt.events import ConnectionStatus, MqttVersion
from vire_edge.mqtt.failures import Failure, LinkError
from vire_edge.mqtt.link import Accepted, Link
from vire_edge.mqtt.tls import build_context


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How patiently a broker is called again."""

    answer_seconds: float = 5.0
    """For the transport to stand, and again for the answer to CONNECT."""
    first_seconds: float = 1.0
    """Doubles with each failure …"""
    limit_seconds: float = 8.0
    """… up to this: an alert must not wait much longer for us than for the broker."""
    patient_seconds: float = 30.0
    """The same for what only a person can mend: hammering on the door locks accounts and fills logs."""
    patient_limit_seconds: float = 120.0
    stable_seconds: float = 10.0
    """A connection that held for this long ends the count of failures; one that breaks earlier continues it."""
    short_connections: int = 3
    """So many connections in a row that do not hold are worth a line on what may be behind it."""
    version_5_again_seconds: float = 600.0
    """After a broker refused MQTT 5 it is asked again at the first reconnect after this: it may be a new one."""
    version_5_doubt_seconds: float = 60.0
    """After it was merely silent it is asked again so long after the connection has proved stable, and then each
    time after twice as long: only MQTT 5 tells whether an alert has reached somebody."""


class VersionChoice:
    """MQTT 5, or 3.1.1 where the broker does not speak it."""

    KNOWN_SECONDS = 3600.0
    """A broker that spoke 5 and was silent for this long may be another by now."""

    def __init__(self, first: MqttVersion, again_seconds: float, doubt_seconds: float) -> None:
        """Begin with `first`.

        Args:
            first: the version to try first.
            again_seconds: when to try MQTT 5 again after it failed.
            doubt_seconds: when to ask for it beside a stable connection, if it failed by silence.
        """
        self._version = first
        self._again_seconds = again_seconds
        self._again_at = float("inf")
        self._doubt_seconds = doubt_seconds
        self._in_doubt = False
        self._ask_at = float("inf")
        self._speaks_5 = False
        self._silent_since: float | None = None

    def choose(self, now: float) -> MqttVersion:
        """The version for the next connection, `now` in monotonic seconds."""
        if now >= self._again_at:
            self._again_at = float("inf")
            self._version = MqttVersion.V5
        return self._version

    def accepted(self, version: MqttVersion) -> None:
        """The broker accepted a connection."""
        self._silent_since = None
        self._ask_at = float("inf")
        if version is MqttVersion.V5:
            self._version = version
            self._again_at = float("inf")
            self._speaks_5, self._in_doubt = True, False

    def held(self, now: float) -> None:
        """The connection has proved stable at `now`, monotonic seconds."""
        if self._in_doubt:
            self._ask_at = now + self._doubt_seconds

    def should_ask(self, now: float) -> bool:
        """Whether it is time to ask for MQTT 5 although a connection stands; `now` in monotonic seconds."""
        return now >= self._ask_at

    def asked_in_vain(self, status: ConnectionStatus, now: float) -> None:
        """The broker did not accept MQTT 5 this time either; the connection stands."""
        self._in_doubt = status is not ConnectionStatus.VERSION
        self._doubt_seconds *= 2
        self._ask_at = now + self._doubt_seconds if self._in_doubt else float("inf")

    def failed(self, status: ConnectionStatus, version: MqttVersion, now: float) -> MqttVersion | None:
        """Learn from a connection that the broker did not accept.

        Some brokers without MQTT 5 hang up or wait for ever instead of refusing it. So silence
        counts as a refusal, unless this broker has spoken MQTT 5 before and is merely unwell.

        Returns:
            The other version when it is worth trying at once.
        """
        if status is ConnectionStatus.NO_ANSWER:
            self._silent_since = now if self._silent_since is None else self._silent_since
            self._speaks_5 = self._speaks_5 and now - self._silent_since < self.KNOWN_SECONDS
            if self._speaks_5:
                return None
        elif status is ConnectionStatus.VERSION:
            self._speaks_5 = False
        else:
            return None
        if version is MqttVersion.V5:
            self._version = MqttVersion.V311
            self._again_at = now + self._again_seconds
            self._in_doubt = status is ConnectionStatus.NO_ANSWER
            return self._version
        # Neither is answered: begin anew with 5 when the wait is over.
        self._version = MqttVersion.V5
        self._again_at = float("inf")
        return None


class Dialer:
    """Opens one connection after another to the same broker."""

    def __init__(
        self,
        config: MqttConfig,
        *,
        client_id: str,
        will: Callable[[], Message] | None = None,
        policy: RetryPolicy | None = None,
        first_version: MqttVersion = MqttVersion.V5,
    ) -> None:
        """Prepare to call a broker.

        Args:
            config: where it is and how to log in.
            client_id: our name there.
            will: makes the last will of each connection, which says since when it stood.
            policy: how patiently to try again.
            first_version: what to speak first.
        """
        self._config = config
        self._client_id = client_id
        self._will = will
        self._policy = policy or RetryPolicy()
        self._versions = VersionChoice(
            first_version, self._policy.version_5_again_seconds, self._policy.version_5_doubt_seconds
        )
        self._failures = 0
        self._patient = False
        self._random = random.Random()  # noqa: S311  # spreads reconnects, guards nothing

    def check(self) -> None:
        """Read the TLS files.

        Raises:
            ConfigError: one is missing or broken.
        """
        if self._config.tls is not None:
            build_context(self._config.tls)

    def dial(self, *, cancelled: Callable[[], bool], timeout_seconds: float | None = None) -> tuple[Link, Accepted]:
        """Connect; with the older protocol at once when the broker turns out not to speak the newer.

        Args:
            cancelled: asked twice a second whether to give up.
            timeout_seconds: less than the policy's patience, when in a hurry.

        Raises:
            LinkError: the broker did not accept.
        """
        seconds = timeout_seconds or self._policy.answer_seconds
        version = self._versions.choose(time.monotonic())
        try:
            link = self._prepare(version)
            accepted = link.open(timeout_seconds=seconds, cancelled=cancelled)
        except LinkError as error:
            other = self._versions.failed(error.failure.status, version, time.monotonic())
            if other is None or cancelled():
                raise
            version = other
            link, accepted = self._second_try(version, seconds, cancelled)
        self._versions.accepted(version)
        return link, accepted

    def _second_try(self, version: MqttVersion, seconds: float, cancelled: Callable[[], bool]) -> tuple[Link, Accepted]:
        link = self._prepare(version)
        try:
            return link, link.open(timeout_seconds=seconds, cancelled=cancelled)
        except LinkError as error:
            self._versions.failed(error.failure.status, version, time.monotonic())
            raise

    def ask_for_5(self, *, cancelled: Callable[[], bool]) -> tuple[Link, Accepted] | None:
        """Ask for MQTT 5 beside a connection that stands, if that fell back on silence and the time has come.

        A broker that speaks it gives up the old connection for the new one, which has the same name; one that does
        not lets the old one stand.

        Args:
            cancelled: asked twice a second whether to give up.

        Returns:
            What takes the old one's place; None to go on with that.
        """
        if not self._versions.should_ask(time.monotonic()):
            return None
        try:
            link = self._prepare(MqttVersion.V5)
            accepted = link.open(timeout_seconds=self._policy.answer_seconds, cancelled=cancelled)
        except LinkError as error:
            self._versions.asked_in_vain(error.failure.status, time.monotonic())
            return None
        self._versions.accepted(MqttVersion.V5)
        return link, accepted

    def held(self) -> None:
        """A connection has proved stable."""
        self._failures = 0
        self._versions.held(time.monotonic())

    def wait_seconds(self, failure: Failure) -> float:
        """How long to wait after a failure before the next try."""
        policy = self._policy
        if failure.patient != self._patient:
            self._patient, self._failures = failure.patient, 0
        first, limit = (
            (policy.patient_seconds, policy.patient_limit_seconds)
            if failure.patient
            else (policy.first_seconds, policy.limit_seconds)
        )
        wait: float = min(limit, first * 2 ** min(self._failures, 16))
        self._failures += 1
        # Devices that lost the same broker must not come back in step.
        return wait * self._random.uniform(0.8, 1.2)

    def _prepare(self, version: MqttVersion) -> Link:
        # The files are read for each connection, so that a renewed certificate counts without a restart.
        try:
            context = None if self._config.tls is None else build_context(self._config.tls)
        except ConfigError as error:
            raise LinkError(Failure(ConnectionStatus.CERTIFICATE, str(error))) from error
        will = None if self._will is None else self._will()
        return Link(self._config, client_id=self._client_id, version=version, context=context, will=will)
