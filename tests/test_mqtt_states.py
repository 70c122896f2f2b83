"""Retained messages on their way: the newest of each topic, and again what was refused."""

from __future__ import annotations

from vire_edge.domain import Message
from vire_edge.mqtt.states import States


def state(text: str, topic: str = "vire/hall/state/room") -> Message:
    return Message(topic, text.encode(), retain=True)


def sent(states: States) -> list[str]:
    """Take out all that wait."""
    texts = []
    while (first := states.first()) is not None:
        texts.append(states.take(first.message.topic).payload.decode())
    return texts


def test_a_newer_state_takes_the_place_of_its_topic_and_goes_last() -> None:
    states = States(30.0)
    states.put(state("old"), after=0)
    states.put(state("other", "vire/hall/health"), after=0)
    states.put(state("new"), after=4)
    assert len(states) == 2
    assert sent(states) == ["other", "new"]


def test_what_was_not_answered_comes_again_in_its_newest_form() -> None:
    states = States(30.0)
    states.put_back([state("old"), state("new")])
    assert sent(states) == ["new"]
    states.put(state("newest"), after=0)
    states.put_back([state("new")])
    assert sent(states) == ["newest"]


def test_what_was_refused_is_sent_again_from_time_to_time() -> None:
    states = States(30.0)
    states.retry(0.0)
    states.refuse(state("a"))
    states.retry(29.9)
    assert len(states) == 0
    states.retry(30.0)
    assert sent(states) == ["a"]
    states.retry(60.0)
    assert sent(states) == []  # taken this time


def test_a_refused_state_never_comes_after_a_newer_one() -> None:
    states = States(30.0)
    states.refuse(state("old"))
    states.put(state("new"), after=0)
    assert sent(states) == ["new"]
    states.put(state("newer"), after=0)
    states.refuse(state("new"))
    assert sent(states) == ["newer"]
    states.retry(0.0)
    assert sent(states) == []


def test_what_is_forgotten_does_not_come_again() -> None:
    states = States(30.0)
    states.put(state("a"), after=0)
    states.refuse(state("b", "vire/hall/health"))
    for topic in ("vire/hall/state/room", "vire/hall/health"):
        states.forget(topic)
    states.retry(0.0)
    assert sent(states) == []
