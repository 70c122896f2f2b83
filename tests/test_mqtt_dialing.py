"""Which MQTT version is tried, and how patiently."""

from __future__ import annotations

import pytest

from vire_edge.config import MqttConfig
from vire_edge.mqtt.dialing import Dialer, RetryPolicy, VersionChoice
from vire_edge.mqtt.events import ConnectionStatus, MqttVersion
from vire_edge.mqtt.failures import Failure

V5, V311 = MqttVersion.V5, MqttVersion.V311


def test_a_refused_version_is_not_tried_again_for_a_while() -> None:
    choice = VersionChoice(V5, 600.0, 60.0)
    assert choice.choose(0.0) is V5
    assert choice.failed(ConnectionStatus.VERSION, V5, 0.0) is V311
    choice.accepted(V311)
    assert choice.choose(599.0) is V311
    assert choice.choose(600.0) is V5


def test_silence_counts_as_a_refusal_of_a_broker_that_never_spoke_5() -> None:
    choice = VersionChoice(V5, 600.0, 60.0)
    assert choice.failed(ConnectionStatus.NO_ANSWER, V5, 0.0) is V311


def test_a_broker_that_answers_neither_is_asked_in_5_again() -> None:
    choice = VersionChoice(V5, 600.0, 60.0)
    for now in (0.0, 10.0, 20.0):
        assert choice.choose(now) is V5
        assert choice.failed(ConnectionStatus.NO_ANSWER, V5, now) is V311
        assert choice.failed(ConnectionStatus.NO_ANSWER, V311, now) is None


def test_a_broker_that_spoke_5_may_be_silent_for_a_while() -> None:
    choice = VersionChoice(V5, 600.0, 60.0)
    choice.accepted(V5)
    for now in range(0, 3600, 8):
        assert choice.failed(ConnectionStatus.NO_ANSWER, V5, float(now)) is None
        assert choice.choose(now + 1.0) is V5
    # It may have been replaced by one that waits for ever.
    assert choice.failed(ConnectionStatus.NO_ANSWER, V5, 3600.0) is V311


def test_a_broker_that_spoke_5_is_believed_when_it_refuses_it() -> None:
    choice = VersionChoice(V5, 600.0, 60.0)
    choice.accepted(V5)
    assert choice.failed(ConnectionStatus.VERSION, V5, 0.0) is V311


def test_after_silence_5_is_asked_for_beside_a_stable_connection_ever_more_seldom() -> None:
    choice = VersionChoice(V5, 600.0, 60.0)
    choice.failed(ConnectionStatus.NO_ANSWER, V5, 0.0)
    choice.accepted(V311)
    assert not choice.should_ask(1000.0)
    choice.held(10.0)
    assert not choice.should_ask(69.9)
    assert choice.should_ask(70.0)
    choice.asked_in_vain(ConnectionStatus.NO_ANSWER, 75.0)
    assert not choice.should_ask(194.9)
    assert choice.should_ask(195.0)
    # A connection that has just begun is left alone.
    choice.accepted(V311)
    assert not choice.should_ask(10_000.0)
    choice.held(10_000.0)
    assert not choice.should_ask(10_119.9)
    assert choice.should_ask(10_120.0)
    choice.accepted(V5)
    choice.held(20_000.0)
    assert not choice.should_ask(1e9)
    assert choice.choose(1e9) is V5


def test_who_refuses_5_is_not_asked_beside_a_connection() -> None:
    choice = VersionChoice(V5, 600.0, 60.0)
    choice.failed(ConnectionStatus.VERSION, V5, 0.0)
    choice.accepted(V311)
    choice.held(10.0)
    assert not choice.should_ask(1e9)
    choice.failed(ConnectionStatus.NO_ANSWER, V5, 2e9)
    choice.accepted(V311)
    choice.held(2e9)
    choice.asked_in_vain(ConnectionStatus.VERSION, 2e9 + 60)
    assert not choice.should_ask(3e9)


@pytest.mark.parametrize("status", [ConnectionStatus.UNREACHABLE, ConnectionStatus.LOGIN, ConnectionStatus.CERTIFICATE])
def test_other_trouble_says_nothing_about_the_version(status: ConnectionStatus) -> None:
    choice = VersionChoice(V5, 600.0, 60.0)
    assert choice.failed(status, V5, 0.0) is None
    assert choice.choose(1.0) is V5


def test_waits_double_up_to_the_limit_and_begin_anew_when_a_connection_held() -> None:
    dialer = Dialer(MqttConfig(host="broker"), client_id="x", policy=RetryPolicy())
    away = Failure(ConnectionStatus.UNREACHABLE, "away")
    waits = [dialer.wait_seconds(away) for _ in range(8)]
    for wait, nominal in zip(waits, (1, 2, 4, 8, 8, 8, 8, 8), strict=True):
        assert 0.8 * nominal <= wait <= 1.2 * nominal
    dialer.held()
    assert dialer.wait_seconds(away) <= 1.2


@pytest.mark.parametrize(
    "status",
    [
        ConnectionStatus.LOGIN,
        ConnectionStatus.CERTIFICATE,
        ConnectionStatus.TAKEN_OVER,
    ],
)
def test_what_only_a_person_can_mend_is_tried_twice_a_minute_at_most(status: ConnectionStatus) -> None:
    dialer = Dialer(MqttConfig(host="broker"), client_id="x", policy=RetryPolicy())
    for _ in range(6):
        dialer.wait_seconds(Failure(ConnectionStatus.UNREACHABLE, "away"))
    waits = [dialer.wait_seconds(Failure(status, "refused")) for _ in range(5)]
    for wait, nominal in zip(waits, (30, 60, 120, 120, 120), strict=True):
        assert 0.8 * nominal <= wait <= 1.2 * nominal
    assert dialer.wait_seconds(Failure(ConnectionStatus.UNREACHABLE, "away")) <= 1.2
