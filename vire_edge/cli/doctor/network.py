"""The broker: does it listen, is it trusted, does it let us in and take what we say; or is our own port free."""

from __future__ import annotations

import enum
import errno
import os
import socket
import ssl
import time
from datetime import UTC, datetime

from vire_edge.cli.doctor.check import Check, Status, failed_with, failure, ok, skipped, warning
from vire_edge.config import BrokerConfig, Config, MqttConfig, TlsConfig, device_id
from vire_edge.domain import Message
from vire_edge.errors import BrokerError, ConfigError
from vire_edge.messages import Messages, Topics
from vire_edge.mqtt import MqttVersion
from vire_edge.mqtt.dialing import Dialer
from vire_edge.mqtt.embedded import EmbeddedBroker
from vire_edge.mqtt.failures import LinkError, address, bind_problem, from_os_error
from vire_edge.mqtt.hearing import REFUSED
from vire_edge.mqtt.link import Accepted, Link
from vire_edge.mqtt.observer import Observer, Received
from vire_edge.mqtt.refusals import Refusals
from vire_edge.mqtt.tls import build_context

_ANSWER_SECONDS = 5.0
_KEPT_SECONDS = 1.0
"""A kept message follows the subscription at once."""
_EXPIRES_SOON_DAYS = 30


class Holder(enum.Enum):
    """Who runs already, and so holds webcams and the embedded broker's port."""

    NOBODY = enum.auto()
    SERVICE = enum.auto()
    """The daemon, by systemd's word."""
    DAEMON = enum.auto()
    """The daemon, by its own word: somebody started it by hand."""


def find_holder(config: Config, *, service_runs: bool) -> Holder:
    """Find out whether this device's daemon runs already; one with a broker of its own is asked there.

    Args:
        config: the configuration.
        service_runs: whether systemd says that it does.
    """
    if service_runs:
        return Holder.SERVICE
    if config.mqtt.host is not None or not isinstance(error := _bind(config.broker), OSError):
        return Holder.NOBODY
    if error.errno != errno.EADDRINUSE:
        return Holder.NOBODY
    broker = EmbeddedBroker(config.broker).client_config(config.mqtt)
    topic = Topics(config.mqtt.topic_prefix, device_id(config)).availability
    try:
        with Observer(broker, topic, first_version=MqttVersion.V311) as observer:
            observer.wait_subscribed(_ANSWER_SECONDS)
            ends_at = time.monotonic() + _KEPT_SECONDS
            while (left := ends_at - time.monotonic()) > 0:
                said = observer.receive(left)
                if isinstance(said, Received):
                    return Holder.DAEMON if (said.json() or {}).get("status") == "online" else Holder.NOBODY
    except BrokerError:
        pass  # no broker, or not ours
    return Holder.NOBODY


def check_broker(config: Config, *, holder: Holder) -> list[Check]:
    """Go the daemon's way to the broker step by step, until one fails.

    Args:
        config: the configuration.
        holder: who holds the embedded broker's port.
    """
    if config.mqtt.host is None:
        return [_check_port(config.broker, holder)]
    steps = [_check_address, _check_listening]
    if config.mqtt.tls is not None:
        steps.append(_check_certificate)
    results: list[Check] = []
    for step in steps:
        results.append(step(config.mqtt))
        if results[-1].status is Status.FAILURE:
            return results
    return results + _check_login(config.mqtt, Messages(Topics(config.mqtt.topic_prefix, device_id(config))))


def _check_port(broker: BrokerConfig, holder: Holder) -> Check:
    name, where = "embedded broker", f"{broker.host}:{broker.port}"
    if holder is Holder.SERVICE:
        return ok(name, f"{where}, held by the running service")
    if holder is Holder.DAEMON:
        return ok(name, f"{where}, this device's daemon listens there")
    error = _bind(broker)
    if error is None:
        return ok(name, f"{where} is free")
    problem = bind_problem(error) if isinstance(error, OSError) else "is no address"
    detail, _, remedy = f"{where} {problem}".partition("; ")
    return failure(
        name,
        detail,
        remedy or "stop the other program, set broker.port to another one, or set mqtt.host to use that broker",
    )


def _bind(broker: BrokerConfig) -> OSError | UnicodeError | None:
    """Take the embedded broker's port for a moment; returns what is in the way."""
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(
            broker.host, broker.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(place)
    except (OSError, UnicodeError) as error:
        return error
    return None


def _check_address(mqtt: MqttConfig) -> Check:
    name = "broker address"
    try:
        found = socket.getaddrinfo(mqtt.host, mqtt.effective_port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        return failed_with(name, LinkError(from_os_error(error, mqtt)))
    addresses = ", ".join(dict.fromkeys(str(place[0]) for *_, place in found))
    return ok(name, str(mqtt.host) if addresses == mqtt.host else f"{mqtt.host} is {addresses}")


def _check_listening(mqtt: MqttConfig) -> Check:
    name = "broker connection"
    try:
        socket.create_connection((mqtt.host or "", mqtt.effective_port), timeout=_ANSWER_SECONDS).close()
    except OSError as error:
        return failed_with(name, LinkError(from_os_error(error, mqtt)))
    return ok(name, f"{address(mqtt)} answers")


def _check_certificate(mqtt: MqttConfig) -> Check:
    name = "broker certificate"
    try:
        context = build_context(mqtt.tls or TlsConfig())
        with (
            socket.create_connection((mqtt.host or "", mqtt.effective_port), timeout=_ANSWER_SECONDS) as connection,
            context.wrap_socket(connection, server_hostname=mqtt.host) as encrypted,
        ):
            version, certificate = encrypted.version(), encrypted.getpeercert()
    except ConfigError as error:
        return failed_with(name, error)
    except OSError as error:
        return failed_with(name, LinkError(from_os_error(error, mqtt)))
    if not certificate:
        return failure(name, f"{address(mqtt)} shows none", "look into the broker's TLS settings")
    expires = datetime.fromtimestamp(ssl.cert_time_to_seconds(str(certificate["notAfter"])), UTC)
    detail = f"{version}, trusted, expires {expires:%Y-%m-%d}"
    if (days := (expires - datetime.now(UTC)).days) < _EXPIRES_SOON_DAYS:
        return warning(name, f"{detail}, in {days} days", "renew the broker's certificate before that day")
    return ok(name, detail)


def _check_login(mqtt: MqttConfig, messages: Messages) -> list[Check]:
    name = "broker login"
    # A name of its own: the daemon's would throw the running daemon out.
    dialer = Dialer(mqtt, client_id=f"vire-edge-doctor-{os.getpid()}")
    try:
        link, accepted = dialer.dial(cancelled=lambda: False, timeout_seconds=_ANSWER_SECONDS)
    except LinkError as error:
        return [failed_with(name, error)]
    login = ok(name, f"accepted {_credentials(mqtt)}, MQTT {accepted.version}")
    published = _check_publishing(link, accepted, messages.response("doctor", None, at=datetime.now(UTC)))
    link.close(timeout_seconds=_ANSWER_SECONDS)
    return [login, published]


def _credentials(mqtt: MqttConfig) -> str:
    if mqtt.username is not None:
        return f'as "{mqtt.username}"'
    return "without a login" if mqtt.tls is None or mqtt.tls.cert_file is None else "with its certificate"


def _check_publishing(link: Link, accepted: Accepted, message: Message) -> Check:
    """Whether the broker takes a message of this device: an answer that nobody has asked for, and nobody keeps."""
    name = "broker rights"
    deadline = time.monotonic() + _ANSWER_SECONDS
    try:
        link.publish(message)
        while not link.acknowledged and (left := deadline - time.monotonic()) > 0:
            link.pump(left)
    except LinkError as error:
        return failure(name, str(error), "look into the broker's log")
    if not link.acknowledged:
        return failure(name, f"a message is not answered within {_ANSWER_SECONDS:.0f} s", "look into the broker's log")
    answer = link.acknowledged[0]
    if answer.code >= REFUSED:
        refusals = Refusals()
        refusals.refused(message.topic, answer.code, answer.name)
        detail, _, remedy = refusals.text.partition("; ")
        return failure(name, detail, remedy)
    if accepted.version is MqttVersion.V311:
        return skipped(
            name, "MQTT 3.1.1 does not tell what the broker lets through", "see that it arrives: vire-edge watch"
        )
    return ok(name, f"this device may publish as {message.topic.partition('/response')[0]}/…")
