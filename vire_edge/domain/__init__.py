"""The nouns: frozen values that flow from the camera to the caregiver. No I/O, no clock, no pydantic."""

from vire_edge.domain.alert import (
    ABSENT_SECONDS,
    TROUBLE_SECONDS,
    AbsenceRule,
    ActiveHours,
    AlertRule,
    CameraRule,
    EndReason,
    Episode,
    EpisodeChange,
    EpisodeEvent,
    Severity,
    SpikeRule,
    SustainedRule,
)
from vire_edge.domain.emotion import (
    EMOTIONS,
    MODEL_CONTRACT_VERSION,
    MODEL_INPUT,
    MODEL_METADATA_PREFIX,
    MODEL_OUTPUT,
    Emotion,
    EmotionScores,
    EmotionState,
)
from vire_edge.domain.face import BoundingBox, Detection, FaceView, Track
from vire_edge.domain.frame import OPENING, CameraState, CameraStatus, Frame, Instant
from vire_edge.domain.message import Message

__all__ = [
    "ABSENT_SECONDS",
    "EMOTIONS",
    "MODEL_CONTRACT_VERSION",
    "MODEL_INPUT",
    "MODEL_METADATA_PREFIX",
    "MODEL_OUTPUT",
    "OPENING",
    "TROUBLE_SECONDS",
    "AbsenceRule",
    "ActiveHours",
    "AlertRule",
    "BoundingBox",
    "CameraRule",
    "CameraState",
    "CameraStatus",
    "Detection",
    "Emotion",
    "EmotionScores",
    "EmotionState",
    "EndReason",
    "Episode",
    "EpisodeChange",
    "EpisodeEvent",
    "FaceView",
    "Frame",
    "Instant",
    "Message",
    "Severity",
    "SpikeRule",
    "SustainedRule",
    "Track",
]
