"""What the embedded broker adds to amqtt: a login without a file, bounds on what it keeps, discretion, and caution.

The plug-ins are loaded by amqtt, by name.
"""

from __future__ import annotations

import asyncio
import hmac
from dataclasses import dataclass, field
from typing import Any

from amqtt.broker import Broker, BrokerContext, RetainedApplicationMessage
from amqtt.mqtt.protocol.broker_handler import BrokerProtocolHandler
from amqtt.plugins.base import BaseAuthPlugin, BasePlugin
from amqtt.session import Session

MAX_RETAINED_TOPICS = 2000
"""A device has some ten; no client may fill the memory with others."""
MAX_WAITING_MESSAGES = 1000
"""Kept for a client with a session that is away; the oldest go first."""


class DiscreetBroker(Broker):  # type: ignore[misc]  # amqtt has no annotations that mypy may use
    """Sends a client the retained messages of its own subscriptions only, and lets no retained command in.

    amqtt greets each new connection with those that match anybody's, whatever the client has
    subscribed to, and fails when somebody subscribes meanwhile.
    """

    async def _handle_message_delivery(
        self, client_session: Session, handler: BrokerProtocolHandler, wait_deliver: asyncio.Future[Any]
    ) -> bool:
        # In MQTT 3.1.1 a subscriber is not told that a message which it gets at once was meant to be kept as well.
        message = wait_deliver.result()
        packet = None if message is None else message.publish_packet
        if packet is not None and packet.retain_flag and _is_command(str(message.topic)):
            self.logger.warning(
                "retained commands are refused, on %r; send them without the retain flag", message.topic
            )
            return True
        return bool(await super()._handle_message_delivery(client_session, handler, wait_deliver))

    async def _publish_retained_messages_for_subscription(
        self, subscription: tuple[str, int], session: Session
    ) -> None:
        subscribers = self.subscriptions.get(subscription[0], [])
        if any(subscriber.client_id == session.client_id for subscriber, _ in subscribers):
            await super()._publish_retained_messages_for_subscription(subscription, session)


def _is_command(topic: str) -> bool:
    return topic.split("/")[-2:-1] == ["command"]


class LoginPlugin(BaseAuthPlugin):  # type: ignore[misc]  # the same
    """One username and password, compared in constant time. amqtt's own plug-in wants hashes in a file."""

    async def authenticate(self, *, session: Session) -> bool:
        """Whether the client gave the right username and password."""
        expected = f"{self.config.username}\0{self.config.password}".encode()
        given = f"{session.username or ''}\0{session.password or ''}".encode()
        return hmac.compare_digest(expected, given)

    @dataclass
    class Config:
        """The login."""

        username: str
        password: str = field(repr=False)


class BoundsPlugin(BasePlugin[BrokerContext]):  # type: ignore[misc]  # the same
    """Keeps retained messages and the queues of absent clients bounded; amqtt itself does not."""

    async def on_broker_retained_message(
        self, client_id: str | None, retained_message: RetainedApplicationMessage
    ) -> None:
        """A message was kept: for a topic, or (with `client_id`) for a client that is away."""
        if client_id is None:
            retained = self.context.retained_messages
            if len(retained) > MAX_RETAINED_TOPICS and retained_message.data:
                retained.pop(retained_message.topic, None)
                self.context.logger.warning(
                    "more than %d retained topics; the newest are not kept", MAX_RETAINED_TOPICS
                )
            return
        session = self.context.get_session(client_id)
        if session is not None and session.retained_messages.qsize() > MAX_WAITING_MESSAGES:
            session.retained_messages.get_nowait()
