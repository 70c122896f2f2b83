"""Episodes, states and health → topic and payload: the wire contract. Pure: no broker, no clock."""

from vire_edge.messages.builder import Messages, describe
from vire_edge.messages.commands import (
    COMMANDS,
    AcknowledgeCommand,
    Command,
    CommandError,
    PauseCommand,
    ResumeCommand,
    StatusCommand,
    parse_command,
)
from vire_edge.messages.payloads import (
    ActiveAlertsPayload,
    AlertPayload,
    Availability,
    AvailabilityPayload,
    CameraHealth,
    CameraPayload,
    DeliveryHealth,
    HealthPayload,
    PersonPayload,
    ResponsePayload,
    StatePayload,
    iso_utc,
    json_schemas,
)
from vire_edge.messages.topics import Topics

__all__ = [
    "COMMANDS",
    "AcknowledgeCommand",
    "ActiveAlertsPayload",
    "AlertPayload",
    "Availability",
    "AvailabilityPayload",
    "CameraHealth",
    "CameraPayload",
    "Command",
    "CommandError",
    "DeliveryHealth",
    "HealthPayload",
    "Messages",
    "PauseCommand",
    "PersonPayload",
    "ResponsePayload",
    "ResumeCommand",
    "StatePayload",
    "StatusCommand",
    "Topics",
    "describe",
    "iso_utc",
    "json_schemas",
    "parse_command",
]
