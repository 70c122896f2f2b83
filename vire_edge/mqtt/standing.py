"""How the connection stands: connected, or why not. Each thing is said once for as long as it stays the same."""

from __future__ import annotations

import structlog

from vire_edge.config import MqttConfig
from vire_edge.mqtt import failures
from vire_edge.mqtt.events import ConnectionStatus, MqttVersion
from vire_edge.mqtt.failures import Failure
from vire_edge.mqtt.link import Accepted

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class Standing:
    """Written by the connection's thread, read by any."""

    def __init__(self, config: MqttConfig, client_id: str, *, short_connections: int) -> None:
        """Begin to connect.

        Args:
            config: the broker.
            client_id: our name there.
            short_connections: so many in a row that do not hold are worth a line on what may be behind it.
        """
        self.status = ConnectionStatus.CONNECTING
        self.version: MqttVersion | None = None
        """The protocol in use; None while disconnected."""
        self.last_error = ""
        """Why it is not connected, or what the broker refuses; empty while all is well."""
        self.connections = 0
        """Since the start."""
        self._config = config
        self._client_id = client_id
        self._short_connections_allowed = short_connections
        self._short_connections = 0
        self._announced: Failure | None = None

    def accepted(self, accepted: Accepted) -> None:
        """A connection stands."""
        self.connections += 1
        self.status, self.version, self.last_error = ConnectionStatus.CONNECTED, accepted.version, ""
        if not self._short_connections:
            self._say_connected(accepted)

    def held(self, accepted: Accepted) -> None:
        """The connection has proved stable."""
        if self._short_connections:
            self._say_connected(accepted)
        self._short_connections = 0
        self._announced = None

    def broke(self, failure: Failure, *, held: bool) -> Failure:
        """A connection that stood has ended; return what is behind it, if one short connection follows another."""
        self._short_connections = 0 if held else self._short_connections + 1
        if failure.status is ConnectionStatus.LOST and self._short_connections >= self._short_connections_allowed:
            return failures.from_instability(self._config, self._client_id)
        return failure

    def failed(self, failure: Failure) -> None:
        """There is no connection."""
        self.status, self.version, self.last_error = failure.status, None, failure.reason
        if failure != self._announced:
            self._announced = failure
            log.warning("broker_unavailable", status=failure.status.value, reason=failure.reason)

    def refused_to_subscribe(self, topic_filter: str, name: str) -> None:
        """The connection stands, and the broker lets no command through; `name` is the reason's in the standard."""
        self.last_error = (
            f'the broker refuses the subscription to "{topic_filter}" ({name}), so no command arrives; '
            "allow this user to read there"
        )
        log.warning("subscription_refused", reason=self.last_error)

    def _say_connected(self, accepted: Accepted) -> None:
        log.info("broker_connected", broker=failures.address(self._config), mqtt=accepted.version.value)
