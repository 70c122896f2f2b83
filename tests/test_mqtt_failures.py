"""Trouble with a broker in words: the thing, its value, the remedy."""

from __future__ import annotations

import errno
import socket
import ssl

import pytest

from vire_edge.config import MqttConfig
from vire_edge.mqtt import failures
from vire_edge.mqtt.events import ConnectionStatus

PLAIN = MqttConfig(host="broker.local")
ENCRYPTED = MqttConfig.model_validate({"host": "broker.local", "tls": {}})


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            socket.gaierror(-2, "Name or service not known"),
            'mqtt.host "broker.local" cannot be resolved (Name or service not known); check the name and the network',
        ),
        (UnicodeError("label too long"), 'mqtt.host "broker.local" cannot be resolved (it is no host name); check'),
        (ConnectionRefusedError(), "no broker listens on broker.local:1883; start it, or correct mqtt.host"),
        (TimeoutError(), "broker.local:1883 does not answer; check mqtt.host, the network and the firewall"),
        (OSError(errno.ENETUNREACH, "Network is unreachable"), "broker.local:1883 cannot be reached (Network is"),
    ],
)
def test_an_unreachable_broker(error: OSError | UnicodeError, words: str) -> None:
    failure = failures.from_os_error(error, PLAIN)
    assert failure.reason.startswith(words)
    assert failure.status is ConnectionStatus.UNREACHABLE
    assert not failure.patient


def test_tls_that_is_too_old() -> None:
    failure = failures.from_os_error(ssl.SSLError(1, "[SSL: UNSUPPORTED_PROTOCOL] unsupported protocol"), ENCRYPTED)
    assert failure.reason.startswith("broker.local:8883 offers no TLS 1.2 or newer (unsupported protocol)")
    assert failure.patient


def test_a_certificate_that_is_not_valid_yet() -> None:
    error = ssl.SSLCertVerificationError("x")
    error.verify_code = 9
    failure = failures.from_os_error(error, ENCRYPTED)
    assert failure.reason == "the certificate of broker.local:8883 is not valid yet; set this device's clock"
    # The network sets it soon after the boot.
    assert not failure.patient


def test_a_certificate_that_has_expired_takes_a_person() -> None:
    error = ssl.SSLCertVerificationError("x")
    error.verify_code = 10
    assert failures.from_os_error(error, ENCRYPTED).patient


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (132, ConnectionStatus.VERSION),
        (133, ConnectionStatus.REFUSED),
        (134, ConnectionStatus.LOGIN),
        (135, ConnectionStatus.LOGIN),
        (136, ConnectionStatus.REFUSED),
        (151, ConnectionStatus.REFUSED),
    ],
)
def test_a_refusal_by_its_reason(code: int, status: ConnectionStatus) -> None:
    failure = failures.from_refusal(code, "The name", PLAIN, "vire-edge-hall")
    assert failure.status is status
    assert failure.reason.startswith("broker.local:1883 ")
    assert "The name" in failure.reason


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (0, ConnectionStatus.LOST),
        (139, ConnectionStatus.LOST),
        (142, ConnectionStatus.TAKEN_OVER),
        (152, ConnectionStatus.REFUSED),
    ],
)
def test_an_end_by_its_reason(code: int, status: ConnectionStatus) -> None:
    assert failures.from_end(code, "The name", "", PLAIN, "vire-edge-hall").status is status


def test_an_ipv6_address_is_written_with_brackets() -> None:
    assert failures.address(MqttConfig(host="::1", port=1884)) == "[::1]:1884"


def test_a_privileged_port_has_its_own_remedy() -> None:
    assert failures.bind_problem(PermissionError(errno.EACCES, "x")).endswith("set broker.port to 1883")
