"""What the broker does not take, in words, once for each topic."""

from __future__ import annotations

from structlog.testing import capture_logs

from vire_edge.mqtt.refusals import MAX_TOPICS, Refusals

NO_RIGHT = (135, "Not authorized")


def test_topics_that_take_turns_are_told_of_once_each() -> None:
    refusals = Refusals()
    with capture_logs() as lines:
        for _ in range(5):
            refusals.refused("vire/hall/state/a", *NO_RIGHT)
            refusals.refused("vire/hall/state/b", *NO_RIGHT)
    assert [line["reason"].partition("(")[0] for line in lines] == [
        'the broker does not take messages on "vire/hall/state/a" ',
        'the broker does not take messages on "vire/hall/state/b" ',
    ]
    refusals.connected()
    with capture_logs() as lines:
        refusals.refused("vire/hall/state/a", *NO_RIGHT)
    assert len(lines) == 1


def test_the_text_stands_until_every_topic_is_taken() -> None:
    refusals = Refusals()
    assert refusals.text == ""
    refusals.refused("a", *NO_RIGHT)
    refusals.refused("b", 151, "Quota exceeded")
    assert refusals.text == (
        'the broker does not take messages on "a" (Not authorized); allow this user to publish there, '
        "or set device_id to the login"
    )
    refusals.taken("a")
    refusals.taken("c")
    assert refusals.text == 'the broker does not take messages on "b" (Quota exceeded); look into the broker\'s log'
    refusals.taken("b")
    assert refusals.text == ""


def test_a_message_that_was_too_large_stays_lost_when_smaller_ones_are_taken() -> None:
    refusals = Refusals()
    refusals.too_large("a", 3000, 2000)
    refusals.taken("a")
    assert refusals.text == ('the broker does not take messages on "a" (3000 bytes, it takes 2000); raise its limit')


def test_strangers_cannot_fill_the_log_with_topics() -> None:
    refusals = Refusals()
    with capture_logs() as lines:
        for number in range(2 * MAX_TOPICS):
            refusals.refused(f"vire/hall/response/{number}", *NO_RIGHT)
    assert len(lines) == MAX_TOPICS
