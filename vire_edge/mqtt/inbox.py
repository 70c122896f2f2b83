"""What comes from the broker → events for the main loop; bounded, so that a flood of commands stays outside."""

from __future__ import annotations

import queue
import threading
import time

import structlog
from paho.mqtt.client import MQTTMessage

from vire_edge.messages import COMMANDS, MAX_COMMAND_BYTES
from vire_edge.mqtt.allowance import Admission, Allowance
from vire_edge.mqtt.events import CommandReceived, MqttEvent

MAX_WAITING_EVENTS = 64
"""Commands that wait for the main loop; further ones are ignored."""
MAX_VERB_CHARACTERS = 64
_UNANSWERABLE = frozenset("+#\0")
"""Not allowed in a topic to publish on, so no answer could go there. Brokers refuse them; not all do."""

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class Inbox:
    """Events for the main loop, in order."""

    def __init__(
        self, command_filter: str, wake: threading.Event, events: queue.SimpleQueue[MqttEvent] | None = None
    ) -> None:
        """Make an inbox.

        Args:
            command_filter: where commands come in, such as `vire/hall/command/+`.
            wake: set with each event.
            events: where to put them, behind those of an earlier inbox.
        """
        self.events: queue.SimpleQueue[MqttEvent] = queue.SimpleQueue() if events is None else events
        self.ignored = 0
        """Commands that came too fast, or whose name nobody could answer."""
        # One for each verb: an app that floods with `status` must not keep a person from pausing.
        self._allowances = {verb: Allowance() for verb in COMMANDS}
        self._allowance_of_others = Allowance()
        self._root = command_filter.removesuffix("+")
        self._wake = wake
        self._warned = False

    def put(self, event: MqttEvent) -> None:
        """Hand over what happened to the connection."""
        self.events.put(event)
        self._wake.set()

    def connected(self) -> None:
        """A new connection stands: ignored commands are worth a line again."""
        self._warned = False

    def receive(self, message: MQTTMessage) -> None:
        """Hand over a message under `command/`, or ignore it."""
        try:
            topic = message.topic
        except UnicodeDecodeError:
            self._ignore("its topic is not UTF-8", "")
            return
        if not topic.startswith(self._root):
            return  # not ours: some brokers send more than was subscribed to
        verb = topic.removeprefix(self._root)
        if len(verb) > MAX_VERB_CHARACTERS:
            self._ignore(f"its name has {len(verb)} characters, {MAX_VERB_CHARACTERS} are allowed", "")
        elif _UNANSWERABLE & set(verb):
            self._ignore("its name holds a character that no topic may have", "")
        elif self.events.qsize() >= MAX_WAITING_EVENTS:
            self._ignore(f"{MAX_WAITING_EVENTS} others are waiting", verb)
        else:
            self._admit(verb, message)

    def _admit(self, verb: str, message: MQTTMessage) -> None:
        admission = self._allowances.get(verb, self._allowance_of_others).admit(time.monotonic())
        if admission is Admission.IGNORE:
            self._ignore("too many of its kind have come", verb)
            return
        properties = {} if message.properties is None else vars(message.properties)
        self.put(
            CommandReceived(
                verb=verb,
                payload=bytes(message.payload[: MAX_COMMAND_BYTES + 1]),  # enough to see that it is too large
                retained=bool(message.retain),
                too_fast=admission is Admission.REFUSE,
                correlation_data=properties.get("CorrelationData"),
            )
        )

    def _ignore(self, reason: str, verb: str) -> None:
        self.ignored += 1
        if not self._warned:
            self._warned = True
            log.warning("command_ignored", verb=verb, reason=reason)
