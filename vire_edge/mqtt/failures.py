"""What can go wrong with a broker → what it is, what it concerns and how to mend it. Pure."""

from __future__ import annotations

import errno
import socket
import ssl
from dataclasses import dataclass

from vire_edge.config import MqttConfig
from vire_edge.errors import BrokerError
from vire_edge.mqtt.events import ConnectionStatus

_EXPIRED, _NOT_YET_VALID = 10, 9
_OTHER_NAME, _OTHER_ADDRESS = 62, 64
_OUTDATED = ("unsupported protocol", "protocol version", "no protocols available")
_NO_TLS = ("wrong version number", "unknown protocol", "record layer failure", "http request", "packet length too long")
_ABOUT_CERTIFICATES = ("certificate", "unknown ca", "handshake failure", "access denied")

START_THE_BROKER = "start it, or correct mqtt.host and mqtt.port"
SET_A_LOGIN = "set mqtt.username and VIRE_EDGE_MQTT__PASSWORD"
CHECK_THE_LOGIN = "check mqtt.username and its password"
"""Remedies in the words of the daemon's configuration; a command with options of its own puts those in their place."""

_PATIENT = {
    ConnectionStatus.LOGIN,
    ConnectionStatus.CERTIFICATE,
    ConnectionStatus.TAKEN_OVER,
}


@dataclass(frozen=True, slots=True)
class Failure:
    """One reason for not being connected."""

    status: ConnectionStatus
    reason: str
    """The thing, its value and the remedy."""
    passes: bool = False
    """Whether it ends by itself, whatever its status."""

    @property
    def patient(self) -> bool:
        """Whether only a person can mend it (or two devices fight), so that trying again soon is of no use."""
        return self.status in _PATIENT and not self.passes


class LinkError(BrokerError):
    """The broker cannot be reached, refuses the connection, or the connection ended."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.reason)
        self.failure = failure


def from_os_error(error: OSError | UnicodeError, config: MqttConfig) -> Failure:
    """Explain what happened while the connection was opened."""
    where = address(config)
    match error:
        case ssl.SSLCertVerificationError():
            # A device without a battery does not know the day until the network has told it.
            clock_is_behind = error.verify_code == _NOT_YET_VALID
            return Failure(ConnectionStatus.CERTIFICATE, _certificate(error, where), passes=clock_is_behind)
        case ssl.SSLError():
            return from_tls_text(str(error), where)
        case socket.gaierror() | UnicodeError():
            detail = error.strerror if isinstance(error, socket.gaierror) else "it is no host name"
            reason = f'mqtt.host "{config.host}" cannot be resolved ({detail}); check the name and the network'
        case ConnectionRefusedError():
            reason = f"no broker listens on {where}; {START_THE_BROKER}"
        case TimeoutError() if config.tls is not None:
            reason = f"{where} does not answer, or speaks no TLS; check mqtt.host, mqtt.port and the firewall"
        case TimeoutError():
            reason = f"{where} does not answer; check mqtt.host, the network and the firewall"
        case ConnectionResetError() if config.tls is not None:
            return Failure(ConnectionStatus.CERTIFICATE, _speaks_no_tls(where, "it hangs up"))
        case _:
            detail = getattr(error, "strerror", None) or str(error)
            reason = f"{where} cannot be reached ({detail}); check mqtt.host and the network"
    return Failure(ConnectionStatus.UNREACHABLE, reason)


def from_tls_text(text: str, where: str) -> Failure:
    """Explain a TLS error by OpenSSL's words; paho passes on no more than those once the handshake is over."""
    plain = text.lower().replace("_", " ")
    detail = text.partition("]")[2].partition("(_ssl")[0].strip() or text
    if "alert" in plain and any(word in plain for word in _ABOUT_CERTIFICATES):
        reason = (
            f"{where} refuses this device's certificate ({detail}); set mqtt.tls.cert_file and mqtt.tls.key_file to "
            "a pair that the broker's authority signed"
        )
    elif any(word in plain for word in _OUTDATED):
        reason = f"{where} offers no TLS 1.2 or newer ({detail}); update the broker's TLS settings"
    elif any(word in plain for word in _NO_TLS) or "eof" in plain:
        reason = _speaks_no_tls(where, detail)
    else:
        reason = f"{where}: the TLS handshake fails ({detail}); check mqtt.tls"
    return Failure(ConnectionStatus.CERTIFICATE, reason)


def _speaks_no_tls(where: str, detail: str) -> str:
    return f"{where} speaks no TLS ({detail}); take mqtt.tls out, or set mqtt.port to the broker's TLS port"


def _certificate(error: ssl.SSLCertVerificationError, where: str) -> str:
    of_broker = f"the certificate of {where}"
    match error.verify_code:
        case code if code == _EXPIRED:
            return f"{of_broker} has expired; renew it on the broker, or set this device's clock"
        case code if code == _NOT_YET_VALID:
            return f"{of_broker} is not valid yet; set this device's clock"
        case code if code in {_OTHER_NAME, _OTHER_ADDRESS}:
            return f"{of_broker} is for another name; set mqtt.host to the name in it, or issue one for this name"
    return (
        f"{of_broker} is not signed by an authority that this device knows ({error.verify_message}); "
        "set mqtt.tls.ca_file to the certificate of the authority that signed it"
    )


def from_silence(config: MqttConfig, detail: str, *, closed: bool) -> Failure:
    """Explain a connection that ended, or stayed silent, before the broker answered CONNECT.

    Args:
        config: the broker's settings.
        detail: what the transport said, if anything.
        closed: whether the other side closed it.
    """
    where = address(config)
    if "alert" in detail.lower():
        return from_tls_text(detail, where)
    what = "hangs up" if closed else "stays silent"
    remedy = (
        "if it expects TLS, add [mqtt.tls]"
        if config.tls is None
        else "if it expects a certificate, set mqtt.tls.cert_file and mqtt.tls.key_file"
    )
    return Failure(ConnectionStatus.NO_ANSWER, f"{where} {what} instead of answering; is it an MQTT broker? {remedy}")


def from_refusal(code: int, name: str, config: MqttConfig, client_id: str) -> Failure:
    """Explain a CONNACK.

    Args:
        code: the MQTT 5 reason code; those of 3.1.1 are given as their counterparts.
        name: its name in the standard.
        config: the broker's settings.
        client_id: the refused one.
    """
    where = address(config)
    match code:
        case 132:
            reason = f"{where} does not speak this version of MQTT ({name})"
            return Failure(ConnectionStatus.VERSION, reason)
        case 134 | 135 | 138 | 140 if config.username is None:
            reason = f"{where} wants a login ({name}); {SET_A_LOGIN}"
            return Failure(ConnectionStatus.LOGIN, reason)
        case 134 | 135 | 138 | 140:
            reason = f'{where} refuses the login of "{config.username}" ({name}); {CHECK_THE_LOGIN}'
            return Failure(ConnectionStatus.LOGIN, reason)
        case 133:
            reason = f'{where} refuses the client id "{client_id}" ({name}); set device_id to another one'
        case _:
            reason = f"{where} refuses the connection ({name}); look into the broker's log"
    return Failure(ConnectionStatus.REFUSED, reason)


def from_end(code: int, name: str, detail: str, config: MqttConfig, client_id: str) -> Failure:
    """Explain the end of an established connection.

    Args:
        code: the MQTT 5 reason code of the broker's DISCONNECT, 0 when the connection merely broke.
        name: its name in the standard.
        detail: what the transport said, if anything.
        config: the broker's settings.
        client_id: ours.
    """
    where = address(config)
    match code:
        case 142:
            reason = (
                f'another client connected to {where} as "{client_id}"; give each device its own device_id '
                "and run one daemon on each"
            )
            return Failure(ConnectionStatus.TAKEN_OVER, reason)
        case 0 | 128:
            reason = f"the connection to {where} broke" + (f" ({detail})" if detail else "")
            return Failure(ConnectionStatus.LOST, reason)
        case 139:
            return Failure(ConnectionStatus.LOST, f"{where} is shutting down")
    return Failure(ConnectionStatus.REFUSED, f"{where} ended the connection ({name}); look into the broker's log")


def from_instability(config: MqttConfig, client_id: str) -> Failure:
    """Explain connections that break soon after they stand; older Mosquittos tell no more than that of a take-over."""
    return Failure(
        ConnectionStatus.UNSTABLE,
        f"{address(config)} hangs up soon after each connection; if another device or daemon connects as "
        f'"{client_id}", give each its own device_id, otherwise look into the broker\'s log',
    )


def address(config: MqttConfig) -> str:
    """host:port, as a person writes it."""
    host = config.host or ""
    return f"[{host}]:{config.effective_port}" if ":" in host else f"{host}:{config.effective_port}"


def bind_problem(error: OSError) -> str:
    """What keeps a server from listening, in a few words with the remedy."""
    match error.errno:
        case errno.EADDRINUSE:
            return "is in use"
        case errno.EADDRNOTAVAIL:
            return "is no address of this machine; set broker.host to one, or to 127.0.0.1"
        case errno.EACCES:
            return "needs the right to use a port below 1024; set broker.port to 1883"
    return f"cannot be listened on ({error.strerror or error}); check broker.host and broker.port"
