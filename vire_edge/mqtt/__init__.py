"""The broker's edge: the daemon's connection, a broker inside the daemon, and an observer of the topics."""

from vire_edge.mqtt.allowance import AT_ONCE
from vire_edge.mqtt.connection import MqttConnection
from vire_edge.mqtt.dialing import RetryPolicy
from vire_edge.mqtt.events import (
    CommandReceived,
    Connected,
    ConnectionStats,
    ConnectionStatus,
    MqttEvent,
    MqttVersion,
)

__all__ = [
    "AT_ONCE",
    "CommandReceived",
    "Connected",
    "ConnectionStats",
    "ConnectionStatus",
    "MqttConnection",
    "MqttEvent",
    "MqttVersion",
    "RetryPolicy",
]
