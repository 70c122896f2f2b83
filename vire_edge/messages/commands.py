"""What a caregiver's app may ask of the device."""

from __future__ import annotations

import json
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

MAX_COMMAND_BYTES = 4096
"""A command is a few words."""


class CommandError(Exception):
    """A command that cannot be carried out; the message is the answer to its sender."""

    def __init__(self, message: str, transaction: str | None = None) -> None:
        super().__init__(message)
        self.transaction = transaction


class Command(BaseModel):
    """What every command may carry."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)

    transaction: Annotated[str, Field(max_length=128)] | None = None
    """Comes back in the answer."""


class AcknowledgeCommand(Command):
    """A caregiver has seen an alert; it still escalates and ends by itself."""

    alert_id: Annotated[str, Field(min_length=1, max_length=64)]


class PauseCommand(Command):
    """Stop the cameras themselves for a while."""

    minutes: Annotated[float, Field(gt=0, le=1440)] = 30.0
    """Then they open again by themselves."""


class ResumeCommand(Command):
    """End a pause."""


class StatusCommand(Command):
    """Send the health report now."""


COMMANDS: dict[str, type[Command]] = {
    "acknowledge": AcknowledgeCommand,
    "pause": PauseCommand,
    "resume": ResumeCommand,
    "status": StatusCommand,
}


def parse_command(verb: str, payload: bytes, *, retained: bool) -> Command:
    """Read a command.

    Args:
        verb: the last part of its topic.
        payload: a JSON object in UTF-8; empty for a command without arguments.
        retained: whether the broker had kept it.

    Raises:
        CommandError: it is unknown, retained, too large, no JSON object, or has wrong arguments.
    """
    if retained:
        raise CommandError("retained commands are refused: they would be carried out again at each start")
    if verb not in COMMANDS:
        raise CommandError(f"there is no command {verb[:32]!a}; there is {', '.join(COMMANDS)}")
    if len(payload) > MAX_COMMAND_BYTES:
        raise CommandError(f"a command has at most {MAX_COMMAND_BYTES} bytes, got {len(payload)}")
    try:
        arguments: Any = json.loads(payload) if payload.strip() else {}
    except (ValueError, RecursionError):
        raise CommandError(f"the payload is no JSON; {_example(verb)}") from None
    if not isinstance(arguments, dict):
        raise CommandError(f"the payload is no JSON object; {_example(verb)}")
    try:
        return COMMANDS[verb].model_validate(arguments)
    except ValidationError as error:
        detail = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in detail["loc"])[:64].encode(errors="replace").decode()
        if detail["type"] == "extra_forbidden":
            known = ", ".join(COMMANDS[verb].model_fields)
            raise CommandError(f"{key} is not known; {verb} takes {known}", _transaction(arguments)) from None
        raise CommandError(f"{key}: {detail['msg'].lower()}", _transaction(arguments)) from None


def _example(verb: str) -> str:
    examples = {"acknowledge": '{"alert_id": "…"}', "pause": '{"minutes": 30}'}
    return f"send an object such as {examples.get(verb, '{}')}"


def _transaction(arguments: dict[str, Any]) -> str | None:
    """The transaction of a refused command, if it can go back over the wire at all."""
    try:
        return Command.model_validate({"transaction": arguments.get("transaction")}).transaction
    except ValidationError:
        return None
