"""What the broker's edge tells the rest of the daemon: frozen events and figures. No I/O."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class MqttVersion(enum.StrEnum):
    """The protocol spoken with a broker."""

    V5 = "5"
    V311 = "3.1.1"


class ConnectionStatus(enum.StrEnum):
    """What the connection to the broker is doing, or what keeps it from doing it."""

    CONNECTING = "connecting"
    CONNECTED = "connected"
    UNREACHABLE = "unreachable"
    """No such name, no route, nobody listening, no answer."""
    NO_ANSWER = "no_answer"
    """Somebody listens, but closes or stays silent instead of answering CONNECT."""
    VERSION = "version"
    """The broker does not speak this version of MQTT."""
    LOGIN = "login"
    """Username, password or authorisation refused."""
    CERTIFICATE = "certificate"
    """The broker's certificate is not trusted, or this device's is not, or TLS itself fails."""
    REFUSED = "refused"
    """The broker refuses or ends the connection for a reason of its own."""
    TAKEN_OVER = "taken_over"
    """Another client came with the same client id."""
    UNSTABLE = "unstable"
    """The broker hangs up soon after each connection."""
    LOST = "lost"
    """It was connected and the network or the broker went away."""
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Connected:
    """The broker accepted the connection: publish birth and every state anew."""


@dataclass(frozen=True, slots=True)
class CommandReceived:
    """A message under `command/`, not looked into."""

    verb: str
    payload: bytes
    """Cut off where it is too large to be a command."""
    retained: bool
    """The broker had kept it (or was asked to): not to be carried out."""
    too_fast: bool = False
    """Too many of its kind have come of late: to be refused."""
    correlation_data: bytes | None = None
    """What the answer is to carry back (MQTT 5)."""


MqttEvent = Connected | CommandReceived


@dataclass(frozen=True, slots=True)
class ConnectionStats:
    """The connection's figures since the start, for `health`."""

    status: ConnectionStatus
    version: MqttVersion | None
    """The protocol in use; None while disconnected."""
    last_error: str
    """Why it is not connected, or what the broker refuses; empty while all is well."""
    queued: int
    """Alerts and answers that the broker has not acknowledged, those in flight included."""
    delivered: int
    """Alerts that this connection delivered: the broker acknowledged them, and not for want of a subscriber."""
    unheard: int
    """Alerts that wait because nobody is subscribed, or because they may not pass (only an MQTT 5 broker tells)."""
    reconnects: int
    """Connections after the first."""
    ignored_commands: int
    """Commands that came faster than they were carried out, or whose name nobody could answer."""

    @property
    def connected(self) -> bool:
        """Whether the broker is connected now."""
        return self.status is ConnectionStatus.CONNECTED
