from __future__ import annotations

import contextlib
import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vire_edge.domain import (
    EMOTIONS,
    CameraState,
    CameraStatus,
    EmotionScores,
    EmotionState,
    EndReason,
    Episode,
    EpisodeChange,
    EpisodeEvent,
    Instant,
    Severity,
)
from vire_edge.messages import (
    ActiveAlertsPayload,
    AlertPayload,
    AvailabilityPayload,
    CameraPayload,
    CommandError,
    Messages,
    PauseCommand,
    ResponsePayload,
    StatePayload,
    Topics,
    json_schemas,
    parse_command,
)

AT = datetime(2026, 6, 1, 12, 0, 0, 123_000, tzinfo=UTC)
MESSAGES = Messages(Topics("vire", "box"))
PERSON = EmotionState(3, EmotionScores((0.1, 0.0, 0.1, 0.5, 0.1, 0.1, 0.1)), 12.5, 0.1)

moments = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)).map(  # noqa: DTZ001
    lambda moment: moment.replace(microsecond=moment.microsecond // 1000 * 1000)
)
shares = st.floats(0, 1).map(lambda value: round(value, 3))
episodes = st.builds(
    Episode,
    alert_id=st.text(min_size=1, max_size=40),
    rule=st.sampled_from(["distress", "fear"]),
    severity=st.sampled_from(Severity),
    camera=st.none() | st.sampled_from(["hall", "attic"]),
    started_at=moments,
    level=shares,
    evidence=st.dictionaries(st.sampled_from([emotion.value for emotion in EMOTIONS]), shares, max_size=3),
    track_ids=st.lists(st.integers(1, 99), max_size=3).map(tuple),
    coalesced=st.integers(0, 9),
    ended_at=st.none() | moments,
    end_reason=st.none() | st.sampled_from(EndReason),
    acknowledged_at=st.none() | moments,
    sequence=st.integers(0, 9),
    duration_seconds=shares,
)


@given(episodes, st.sampled_from(EpisodeChange), moments)
def test_an_alert_survives_the_wire(episode: Episode, change: EpisodeChange, at: datetime) -> None:
    message = MESSAGES.alert(EpisodeEvent(change, episode, Instant(0.0, at)))
    payload = AlertPayload.model_validate_json(message.payload)
    assert (message.topic, message.qos, message.retain) == ("vire/box/alerts", 1, False)
    assert (payload.event, payload.at, payload.text != "") == (change, at, True)
    for name in (
        "alert_id", "rule", "severity", "camera", "started_at", "ended_at", "end_reason", "level", "sequence",
        "duration_seconds",
    ):  # fmt: skip
        assert getattr(payload, name) == getattr(episode, name)
    assert payload.evidence == dict(episode.evidence)
    assert tuple(payload.track_ids) == episode.track_ids


def test_every_payload_says_version_device_and_time() -> None:
    episode = Episode("id", "distress", Severity.WARNING, "hall", AT, 0.7)
    for message in (
        MESSAGES.availability("online", at=AT),
        MESSAGES.state("hall", [PERSON], not_observed=1, at=AT),
        MESSAGES.camera(CameraState("hall", CameraStatus.ONLINE, AT), at=AT),
        MESSAGES.active_alerts([episode], at=AT),
        MESSAGES.response("status", "t1", at=AT),
    ):
        payload = json.loads(message.payload)
        assert (payload["schema"], payload["device_id"]) == (1, "box")
        assert payload["at"] == "2026-06-01T12:00:00.123Z"


def test_topics_retention_and_quality_of_service_are_the_contract_s() -> None:
    episode = Episode("id", "distress", Severity.WARNING, "hall", AT, 0.7)
    sent = {
        message.topic: (message.retain, message.qos)
        for message in (
            MESSAGES.availability("offline", at=AT),
            MESSAGES.state("hall", [], not_observed=0, at=AT),
            MESSAGES.camera(CameraState("hall", CameraStatus.DARK, AT, "black"), at=AT),
            MESSAGES.alert(EpisodeEvent(EpisodeChange.STARTED, episode, Instant(0.0, AT))),
            MESSAGES.active_alerts([], at=AT),
            MESSAGES.response("pause", None, at=AT),
        )
    }
    assert sent == {
        "vire/box/availability": (True, 1),
        "vire/box/state/hall": (True, 1),
        "vire/box/camera/hall": (True, 1),
        "vire/box/alerts": (False, 1),
        "vire/box/alerts/active": (True, 1),
        "vire/box/response/pause": (False, 1),
    }


def test_payloads_read_back_as_what_they_were() -> None:
    state = StatePayload.model_validate_json(MESSAGES.state("hall", [PERSON], not_observed=2, at=AT).payload)
    assert state.people[0].dominant == "happy"
    assert state.people[0].observed_seconds == 12.5
    assert state.not_observed == 2
    camera = CameraPayload.model_validate_json(
        MESSAGES.camera(CameraState("hall", CameraStatus.STALLED, AT, "no new picture for 10 s"), at=AT).payload
    )
    assert (camera.status, camera.reason) == ("stalled", "no new picture for 10 s")
    assert AvailabilityPayload.model_validate_json(MESSAGES.availability("stopped", at=AT).payload).status == "stopped"
    assert ActiveAlertsPayload.model_validate_json(MESSAGES.active_alerts([], at=AT).payload).alerts == []
    refused = ResponsePayload.model_validate_json(MESSAGES.response("pause", "t", at=AT, error="no").payload)
    assert (refused.ok, refused.error, refused.transaction) == (False, "no", "t")


def test_every_retained_payload_says_until_when_the_cameras_are_paused() -> None:
    until = AT + timedelta(minutes=30)
    paused = (
        MESSAGES.availability("online", at=AT, paused_until=until),
        MESSAGES.state("hall", [], not_observed=0, at=AT, paused_until=until),
        MESSAGES.camera(CameraState("hall", CameraStatus.DISABLED, AT, "paused"), at=AT, paused_until=until),
        MESSAGES.active_alerts([], at=AT, paused_until=until),
    )
    assert {json.loads(message.payload)["paused_until"] for message in paused} == {"2026-06-01T12:30:00.123Z"}
    assert json.loads(MESSAGES.availability("online", at=AT).payload)["paused_until"] is None
    schemas = json_schemas()
    for topic in ("availability", "state/<camera>", "camera/<camera>", "alerts/active", "health"):
        assert "paused_until" in schemas[topic]["required"], topic


def test_an_alert_tells_a_person_what_happened_and_how_it_ended() -> None:
    episode = Episode("id", "distress", Severity.WARNING, "hall", AT, 0.7, {"sad": 0.71, "fear": 0.1})
    started = MESSAGES.alert(EpisodeEvent(EpisodeChange.STARTED, episode, Instant(0.0, AT)))
    assert json.loads(started.payload)["text"] == "distress on camera hall: sad 71%, fear 10%"
    away = Episode("id", "absence", Severity.WARNING, None, AT, 1.0, {"absent_seconds": 6 * 3600.0})
    told = MESSAGES.alert(EpisodeEvent(EpisodeChange.STARTED, away, Instant(0.0, AT)))
    assert json.loads(told.payload)["text"] == "absence on all cameras: nobody seen for 6.0 h"
    dark = Episode("id", "camera-dark", Severity.INFO, "hall", AT, 1.0, {"trouble_seconds": 600.0})
    told = MESSAGES.alert(EpisodeEvent(EpisodeChange.STARTED, dark, Instant(0.0, AT)))
    assert json.loads(told.payload)["text"] == "camera-dark on camera hall: for 10 min"
    full = Episode("id", "storage", Severity.WARNING, None, AT, 1.0, {"storage": 1.0, "trouble_seconds": 60.0})
    told = MESSAGES.alert(EpisodeEvent(EpisodeChange.STARTED, full, Instant(0.0, AT)))
    assert json.loads(told.payload)["text"] == "storage: the disk fails, or what was on it was damaged, for 60 s"
    over = Episode(
        "id",
        "absence",
        Severity.WARNING,
        None,
        AT,
        1.0,
        ended_at=AT + timedelta(days=1),  # the clock was set in between
        end_reason=EndReason.OUT_OF_VIEW,
        duration_seconds=90.0,
    )
    ended = MESSAGES.alert(EpisodeEvent(EpisodeChange.ENDED, over, Instant(0.0, AT)))
    assert json.loads(ended.payload)["text"] == "absence on all cameras is over after 90 s (out of view)"


def test_milder_alerts_expire_sooner() -> None:
    def expiry(severity: Severity) -> int:
        episode = Episode("id", "distress", severity, "hall", AT, 0.7)
        return MESSAGES.alert(EpisodeEvent(EpisodeChange.STARTED, episode, Instant(0.0, AT))).expiry_seconds or 0

    assert 0 < expiry(Severity.INFO) < expiry(Severity.WARNING) < expiry(Severity.CRITICAL)


def test_the_schema_covers_every_topic_of_the_contract() -> None:
    schemas = json_schemas()
    assert set(schemas) == {
        "availability", "state/<camera>", "camera/<camera>", "alerts", "alerts/active", "health", "response/<verb>",
        "command/acknowledge", "command/pause", "command/resume", "command/status",
    }  # fmt: skip
    for topic, schema in schemas.items():
        if not topic.startswith("command/"):
            assert {"schema", "device_id", "at"} <= set(schema["required"])


def test_a_command_is_read_with_its_arguments() -> None:
    command = parse_command("pause", b'{"minutes": 15, "transaction": "a"}', retained=False)
    assert isinstance(command, PauseCommand)
    assert (command.minutes, command.transaction) == (15, "a")
    assert parse_command("status", b"{}", retained=False).transaction is None
    sent = parse_command("status", b'{"sent_at": "2026-06-01T14:00:00.123+02:00"}', retained=False)
    assert sent.sent_at == AT


@pytest.mark.parametrize(
    ("verb", "payload", "retained", "answer"),
    [
        ("pause", b"{}", True, "retained commands are refused"),
        ("explode", b"{}", False, "there is no command 'explode'; there is acknowledge, pause, resume, status"),
        ("pause", b"{" * 10, False, "no JSON"),
        ("pause", b"[]", False, "no JSON object"),
        ("pause", b'{"minutes": -1}', False, "minutes must be above 0"),
        ("pause", b'{"minutes": 1e999}', False, "minutes"),
        ("pause", b'{"hours": 1}', False, "hours is not known; pause takes transaction, sent_at, minutes"),
        ("acknowledge", b"{}", False, "alert_id is missing"),
        ("status", b" " * 4097, False, "at most 4096 bytes"),
        ("status", b"\xff\xfe", False, "no JSON"),
        ("status", '{"transaction": "a"}'.encode("utf-16"), False, "no JSON"),
        ("status", b"[" * 4096, False, "no JSON"),
        ("pause", b'{"minutes": NaN}', False, "no JSON"),
        ("pause", b'{"minutes": ' + b"9" * 4000 + b"}", False, "minutes must be a number"),
        ("pause", b'{"minutes": 5, "minutes": 500}', False, "'minutes' is given twice; give it once"),
        ("pause", b'{"minutes": 1441}', False, "minutes must be at most 1440"),
        ("status", b'{"sent_at": "yesterday"}', False, "sent_at: must be a time such as 2026-06-01T12:00:00Z"),
        ("status", b'{"sent_at": 1780315200}', False, "sent_at: must be a time such as"),
        ("status", b'{"sent_at": "2026-06-01T12:00:00"}', False, "sent_at: input should have timezone info"),
        ("acknowledge", b'{"alert_id": "' + b"a" * 65 + b'"}', False, "alert_id must have at most 64 characters"),
    ],
)
def test_a_wrong_command_is_answered_with_what_is_wrong(verb: str, payload: bytes, retained: bool, answer: str) -> None:
    with pytest.raises(CommandError, match=answer.replace("[", r"\[")):
        parse_command(verb, payload, retained=retained)


@given(st.sampled_from(["acknowledge", "pause", "resume", "status", "x"]), st.binary(max_size=200), st.booleans())
def test_no_payload_does_more_than_be_refused(verb: str, payload: bytes, retained: bool) -> None:
    with contextlib.suppress(CommandError):
        assert parse_command(verb, payload, retained=retained) is not None


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(st.characters(), max_size=20),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=9), children, max_size=3),
    max_leaves=5,
)


@given(
    st.sampled_from(["acknowledge", "pause", "resume", "status", "\ud800"]),
    st.dictionaries(st.sampled_from(["transaction", "minutes", "alert_id", "\ud800"]), json_values, max_size=3),
)
def test_whatever_a_command_holds_its_refusal_can_be_sent(verb: str, arguments: dict[str, object]) -> None:
    try:
        parse_command(verb, json.dumps(arguments).encode(), retained=False)
    except CommandError as error:
        message = MESSAGES.response("verb", error.transaction, at=AT, error=str(error))
        assert json.loads(message.payload)["ok"] is False


def test_half_a_surrogate_pair_is_no_transaction() -> None:
    with pytest.raises(CommandError) as caught:
        parse_command("status", b'{"transaction": "\\ud800"}', retained=False)
    assert caught.value.transaction is None
