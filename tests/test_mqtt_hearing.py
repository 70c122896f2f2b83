"""When alerts go out one by one, and when all at once."""

from __future__ import annotations

import pytest

from vire_edge.mqtt.hearing import NO_SUBSCRIBERS, TAKEN, Hearing


@pytest.fixture
def hearing() -> Hearing:
    hearing = Hearing(probe_seconds=30.0)
    hearing.connected()
    return hearing


def test_the_first_alert_of_a_connection_goes_alone(hearing: Hearing) -> None:
    assert hearing.unknown
    assert hearing.may_send(in_flight=0, now=0.0)
    hearing.sent(0.0)
    assert not hearing.may_send(in_flight=1, now=100.0)
    assert hearing.learn(TAKEN)
    assert hearing.may_send(in_flight=9, now=0.0)
    hearing.connected()
    assert not hearing.may_send(in_flight=1, now=0.0)


@pytest.mark.parametrize("code", [NO_SUBSCRIBERS, 128, 131, 135, 151])
def test_while_nobody_hears_one_goes_every_half_minute(hearing: Hearing, code: int) -> None:
    hearing.sent(0.0)
    assert not hearing.learn(code)
    assert hearing.nobody
    assert not hearing.may_send(in_flight=0, now=29.9)
    assert not hearing.may_send(in_flight=1, now=30.0)
    assert hearing.may_send(in_flight=0, now=30.0)
    hearing.sent(30.0)
    assert not hearing.may_send(in_flight=0, now=59.9)


def test_a_new_alert_does_not_wait_for_that(hearing: Hearing) -> None:
    hearing.sent(0.0)
    hearing.learn(NO_SUBSCRIBERS)
    hearing.news()
    assert hearing.may_send(in_flight=0, now=0.1)
    hearing.sent(0.1)
    assert not hearing.may_send(in_flight=0, now=0.2)


def test_a_refusal_is_asked_again_by_one_even_where_somebody_heard(hearing: Hearing) -> None:
    hearing.learn(TAKEN)
    hearing.sent(0.0)
    assert not hearing.learn(151)
    assert hearing.nobody
    assert not hearing.may_send(in_flight=0, now=29.9)
    assert hearing.may_send(in_flight=0, now=30.0)
    assert hearing.learn(TAKEN)
    assert not hearing.nobody
