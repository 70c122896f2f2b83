"""Looking at topics from outside, with Mosquitto's own tools on the other side."""

from __future__ import annotations

import subprocess
import threading

import pytest
from brokers import PATIENCE_SECONDS, Mosquitto, MosquittoFactory, free_port, wait_until

from vire_edge.config import MqttConfig
from vire_edge.domain import Message
from vire_edge.errors import BrokerError, ConfigError
from vire_edge.mqtt import RetryPolicy
from vire_edge.mqtt.observer import LinkChanged, Observer, Received

QUICK = RetryPolicy(answer_seconds=2.0, first_seconds=0.05, limit_seconds=0.2)


def publish(broker: Mosquitto, topic: str, payload: str, *options: str) -> None:
    subprocess.run(
        ["mosquitto_pub", "-p", str(broker.port), "-q", "1", "-t", topic, "-m", payload, *options],
        check=True,
        timeout=PATIENCE_SECONDS,
    )


def next_message(observer: Observer) -> Received:
    while True:
        received = observer.receive(PATIENCE_SECONDS)
        assert received is not None
        if isinstance(received, Received):
            return received


def test_it_tells_what_was_kept_from_what_is_new(mosquitto: Mosquitto) -> None:
    publish(mosquitto, "vire/hall/availability", '{"status": "online"}', "-r")
    with Observer(mosquitto.config(), "vire/+/#") as observer:
        observer.wait_subscribed(PATIENCE_SECONDS)
        assert observer.receive(PATIENCE_SECONDS) == LinkChanged(connected=True, detail="MQTT 5")
        kept = next_message(observer)
        assert (kept.topic, kept.json(), kept.retained) == ("vire/hall/availability", {"status": "online"}, True)
        publish(mosquitto, "zigbee/lamp", "on")
        publish(mosquitto, "vire/hall/alerts", "[1]")
        new = next_message(observer)
        assert (new.topic, new.payload, new.json(), new.retained) == ("vire/hall/alerts", b"[1]", None, False)
        assert new.received_at.tzinfo is not None
        publish(mosquitto, "vire/hall/availability", '{"status": "stopped"}', "-r")
        assert not next_message(observer).retained


def test_it_can_ask_too(mosquitto: Mosquitto) -> None:
    with Observer(mosquitto.config(), "#") as observer:
        observer.publish(Message("vire/hall/command/status", b"{}"))
        assert next_message(observer).topic == "vire/hall/command/status"


def test_it_follows_a_broker_through_a_restart(mosquitto: Mosquitto) -> None:
    with Observer(mosquitto.config(), "#", policy=QUICK) as observer:
        observer.wait_subscribed(PATIENCE_SECONDS)
        mosquitto.kill()
        changes = [observer.receive(PATIENCE_SECONDS), observer.receive(PATIENCE_SECONDS)]
        assert [getattr(change, "connected", None) for change in changes] == [True, False]
        mosquitto.start()
        observer.wait_subscribed(PATIENCE_SECONDS)
        publish(mosquitto, "a", "b")
        assert next_message(observer).payload == b"b"


def test_a_broker_that_is_away_can_be_an_error() -> None:
    port = free_port()
    with (
        Observer(MqttConfig(host="127.0.0.1", port=port), "#", policy=QUICK) as observer,
        pytest.raises(BrokerError, match=rf"no connection to the broker within 0 s: no broker listens on .*:{port}"),
    ):
        observer.wait_subscribed(0.3)


def test_a_refused_login_ends_it(mosquitto_with_login: Mosquitto) -> None:
    with Observer(mosquitto_with_login.config(), "#") as observer:
        with pytest.raises(BrokerError, match="wants a login"):
            observer.wait_subscribed(PATIENCE_SECONDS)
        with pytest.raises(BrokerError, match="wants a login"):
            observer.receive(PATIENCE_SECONDS)


def test_a_refused_subscription_ends_it(start_mosquitto: MosquittoFactory) -> None:
    broker = start_mosquitto("allow_anonymous true", "acl_file /dev/null")
    with Observer(broker.config(), "#") as observer:
        # Mosquitto refuses a subscription only with MQTT 5 and only from 2.1 on; earlier it merely sends nothing.
        publish(broker, "a", "b")
        try:
            observer.wait_subscribed(PATIENCE_SECONDS)
        except BrokerError as error:
            assert "refuses the subscription to #" in str(error)  # noqa: PT017  # either is right


def test_stopping_is_quick_while_the_broker_is_away() -> None:
    observer = Observer(MqttConfig(host="127.0.0.1", port=free_port()), "#")
    observer.start()
    wait_until(lambda: isinstance(observer.receive(0.05), LinkChanged), what="the first failure")
    observer.stop()
    observer.stop()
    assert "mqtt-observer" not in [thread.name for thread in threading.enumerate()]


def test_a_missing_certificate_is_said_at_once() -> None:
    config = MqttConfig.model_validate({"host": "localhost", "tls": {"ca_file": "/nowhere"}})
    observer = Observer(config, "#")
    with pytest.raises(ConfigError, match="/nowhere does not exist"):
        observer.start()
    observer.stop()
