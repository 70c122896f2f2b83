"""The broker: does its name resolve, does it listen, is it trusted, does it let us in; or is our own port free."""

from __future__ import annotations

import os
import socket
import ssl
from datetime import UTC, datetime

from vire_edge.cli.doctor.check import Check, Status, failed_with, failure, ok, warning
from vire_edge.config import BrokerConfig, Config, MqttConfig, TlsConfig
from vire_edge.errors import ConfigError
from vire_edge.mqtt.dialing import Dialer
from vire_edge.mqtt.failures import LinkError, address, bind_problem, from_os_error
from vire_edge.mqtt.tls import build_context

_ANSWER_SECONDS = 5.0
_EXPIRES_SOON_DAYS = 30


def check_broker(config: Config, *, service_runs: bool) -> list[Check]:
    """Go the daemon's way to the broker step by step, until one fails.

    Args:
        config: the configuration.
        service_runs: whether the daemon is up already, and so holds the embedded broker's port.
    """
    if config.mqtt.host is None:
        return [_check_port(config.broker, service_runs=service_runs)]
    steps = [_check_address, _check_listening, _check_login]
    if config.mqtt.tls is not None:
        steps.insert(2, _check_certificate)
    results: list[Check] = []
    for step in steps:
        results.append(step(config.mqtt))
        if results[-1].status is Status.FAILURE:
            break
    return results


def _check_port(broker: BrokerConfig, *, service_runs: bool) -> Check:
    name, where = "embedded broker", f"{broker.host}:{broker.port}"
    if service_runs:
        return ok(name, f"{where}, held by the running service")
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(
            broker.host, broker.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(place)
    except (OSError, UnicodeError) as error:
        problem = bind_problem(error) if isinstance(error, OSError) else "is no address"
        detail, _, remedy = f"{where} {problem}".partition("; ")
        return failure(
            name,
            detail,
            remedy or "stop the other program, set broker.port to another one, or set mqtt.host to use that broker",
        )
    return ok(name, f"{where} is free")


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


def _check_login(mqtt: MqttConfig) -> Check:
    name = "broker login"
    # A name of its own: the daemon's would throw the running daemon out.
    dialer = Dialer(mqtt, client_id=f"vire-edge-doctor-{os.getpid()}")
    try:
        link, accepted = dialer.dial(cancelled=lambda: False, timeout_seconds=_ANSWER_SECONDS)
    except LinkError as error:
        return failed_with(name, error)
    link.close(timeout_seconds=_ANSWER_SECONDS)
    who = "without a login" if mqtt.username is None else f'as "{mqtt.username}"'
    return ok(name, f"accepted {who}, MQTT {accepted.version}")
