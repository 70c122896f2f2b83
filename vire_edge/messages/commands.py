"""What a caregiver's app may ask of the device."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Any, NoReturn

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

MAX_COMMAND_BYTES = 4096
"""A command is a few words."""
MAX_AGE_SECONDS = 60.0
"""How far a command's `sent_at` may be from the device's clock: a slow link and two fair clocks need less."""
MAX_PAUSE_MINUTES = 1440.0
"""A day: longer is an end, and that is somebody's decision at the device."""
_PHRASES = {
    "missing": " is missing",
    "greater_than": " must be above {gt:g}",
    "less_than_equal": " must be at most {le:g}",
    "float_parsing": " must be a number",
    "float_type": " must be a number",
    "finite_number": " must be a number",
    "string_type": " must be text",
    "string_too_short": " must have at least {min_length} character",
    "string_too_long": " must have at most {max_length} characters",
}
"""pydantic's error types in this project's words."""


class CommandError(Exception):
    """A command that cannot be carried out; the message is the answer to its sender."""

    def __init__(self, message: str, transaction: str | None = None) -> None:
        super().__init__(message)
        self.transaction = transaction


def _read_time(value: object) -> datetime:
    try:
        return datetime.fromisoformat(str(value))
    except ValueError:
        raise PydanticCustomError("time", "must be a time such as 2026-06-01T12:00:00Z") from None


class Command(BaseModel):
    """What every command may carry."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)

    transaction: Annotated[str, Field(max_length=128)] | None = None
    """Comes back in the answer. Make a new one, such as a random UUID, for each command: a command whose transaction
    was carried out already is refused."""
    sent_at: Annotated[AwareDatetime, BeforeValidator(_read_time)] | None = None
    """When the sender sent it, ISO 8601 with its offset: a command that is more than a minute from the device's clock
    is refused. Left out, a command has no age: that always works, even if the device's clock is wrong."""


class AcknowledgeCommand(Command):
    """A caregiver has seen an alert; it still escalates and ends by itself."""

    alert_id: Annotated[str, Field(min_length=1, max_length=64)]


class PauseCommand(Command):
    """Stop the cameras themselves for a while."""

    minutes: Annotated[float, Field(gt=0, le=MAX_PAUSE_MINUTES)] = 30.0
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
        payload: a JSON object in UTF-8. Empty it is no command: with that, kept messages are deleted.
        retained: whether the broker had kept it.

    Raises:
        CommandError: it is unknown, retained, too large, no JSON object, says a thing twice, or has wrong arguments.
    """
    if retained:
        raise CommandError("retained commands are refused: they would be carried out again at each start")
    if verb not in COMMANDS:
        raise CommandError(f"there is no command {verb[:32]!a}; there is {', '.join(COMMANDS)}")
    if len(payload) > MAX_COMMAND_BYTES:
        raise CommandError(f"a command has at most {MAX_COMMAND_BYTES} bytes; this one has more")
    try:
        arguments: Any = _read_json(payload)
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
        phrase = _PHRASES.get(detail["type"])
        words = (
            f": {detail['msg'][:1].lower()}{detail['msg'][1:]}"
            if phrase is None
            else phrase.format_map(detail.get("ctx", {}))
        )
        raise CommandError(f"{key}{words}", _transaction(arguments)) from None


def _read_json(payload: bytes) -> Any:
    """Read JSON as the standard has it: Python's own reader knows NaN, and keeps the last of two values in silence."""

    def refuse(constant: str) -> NoReturn:
        raise ValueError(constant)

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        read = dict(pairs)
        if len(read) < len(pairs):
            names = [name for name, _ in pairs]
            repeated = next(name for name in names if names.count(name) > 1)
            raise CommandError(f"{repeated[:64]!a} is given twice; give it once")
        return read

    return json.loads(payload.decode(), parse_constant=refuse, object_pairs_hook=unique)


def _example(verb: str) -> str:
    examples = {"acknowledge": '{"alert_id": "…"}', "pause": '{"minutes": 30}'}
    return f"send an object such as {examples.get(verb, '{}')}"


def _transaction(arguments: dict[str, Any]) -> str | None:
    """The transaction of a refused command, if it can go back over the wire at all."""
    try:
        return Command.model_validate({"transaction": arguments.get("transaction")}).transaction
    except ValidationError:
        return None
