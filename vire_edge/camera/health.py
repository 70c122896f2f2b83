"""What pictures tell about their camera: online, stalled, dark. Pure: no clock, no thread, no I/O."""

from __future__ import annotations

import enum

import numpy as np

from vire_edge.camera.source import Image
from vire_edge.domain import OPENING, CameraState, CameraStatus, Instant

DARK_LEVEL = 32
"""Of 255. A face under it has nothing to read, and the noise of a covered sensor stays below."""
DARK_SHARE = 0.99
"""A picture is dark when this share of it is under `DARK_LEVEL`: a lamp or a television in a dark room is light."""
LIGHT_SECONDS = 1.0
"""Light must last this long to end the dark: passing headlights do not."""

_SAMPLE_STEP = 8
"""Every eighth pixel of every eighth row decides, 4,800 of 640×480: microseconds instead of a millisecond."""


class Verdict(enum.Enum):
    """What to do with a picture and its source."""

    HAND_ON = enum.auto()
    WITHHOLD = enum.auto()
    """It shows nothing new: the picture that a frozen camera repeats must not count as an observation."""
    REOPEN = enum.auto()
    """Withhold it, and open the source anew."""


class FrameWatch:
    """The status of one camera, from its pictures and from what became of reading them.

    A live source that repeats one picture for `stall_seconds` has frozen, because a sensor's noise makes each picture
    differ in some pixel. Three things must not be taken for that:

    - a file or a drawn scene may well stand still: only live sources are judged;
    - a stream whose encoder sees nothing but noise skips whole pictures, so that the decoder repeats the last one
      exactly. A key picture is encoded from the sensor anew: only a repetition that outlasts one counts. A webcam's
      and an MJPEG stream's pictures all are key pictures;
    - a covered lens gives a uniform black: that is dark, not stalled.
    """

    def __init__(self, camera: str, *, live: bool, stall_seconds: float, dark_seconds: float, now: Instant) -> None:
        """Start as `reconnecting`: nothing is known yet.

        Args:
            camera: the camera's name.
            live: whether repetition is judged.
            stall_seconds: a live source that repeats one picture for this long has stalled.
            dark_seconds: pictures that are black for this long are dark.
            now: when the watch begins.
        """
        self._camera = camera
        self._live, self._stall_seconds, self._dark_seconds = live, stall_seconds, dark_seconds
        self._state = CameraState(camera, CameraStatus.RECONNECTING, now.utc, OPENING)
        self._repeated: Image | None = None
        self._repeated_since: float | None = None
        self._outlasted_key = False
        self._frozen = False
        self._dark_since: float | None = None
        self._light_since: float | None = None

    @property
    def state(self) -> CameraState:
        """Status, since when and why; `since` changes only with the status."""
        return self._state

    def opening(self, now: Instant) -> None:
        """The source is being opened for the first time or after a pause."""
        if self._state.status is CameraStatus.DISABLED:
            self._set(CameraStatus.RECONNECTING, OPENING, now)

    def failed(self, reason: str, now: Instant) -> None:
        """The source cannot be opened, or reading it failed."""
        self._forget()
        self._set(CameraStatus.RECONNECTING, reason, now)

    def blocked(self, seconds: float, now: Instant) -> None:
        """Reading the source has not come back for `seconds`."""
        self._forget()
        self._set(CameraStatus.STALLED, f"no picture for {seconds:g} s", now)

    def disabled(self, reason: str, now: Instant) -> None:
        """The source was closed on purpose or has come to its end."""
        self._forget()
        self._set(CameraStatus.DISABLED, reason, now)

    def saw(self, image: Image, now: Instant, *, key_picture: bool) -> Verdict:
        """Judge one picture.

        Args:
            image: as captured.
            now: when it was captured.
            key_picture: whether a key picture came since the last call, this one included.

        Returns:
            Whether the picture may be handed on and whether the source must be opened anew.
        """
        black = _is_black(image)
        dark = self._is_dark(now.monotonic, black=black)
        if black:
            if self._frozen and not dark:
                return Verdict.WITHHOLD  # many a camera starts with some black pictures, a frozen one too
        elif self._live and self._repeats(image, now.monotonic, key_picture=key_picture):
            long = self._repeated_seconds(now.monotonic) >= self._stall_seconds
            if self._frozen or (long and self._outlasted_key):
                self._frozen = True
                self._set(CameraStatus.STALLED, f"the same picture for {self._stall_seconds:g} s", now)
                if not long:
                    return Verdict.WITHHOLD
                self._repeated_since = None
                return Verdict.REOPEN
        if dark:
            self._set(CameraStatus.DARK, f"black for {self._dark_seconds:g} s", now)
        else:
            self._set(CameraStatus.ONLINE, "", now)
        return Verdict.HAND_ON

    def _repeats(self, image: Image, at: float, *, key_picture: bool) -> bool:
        """Compare with the picture that was first of its kind; its memory outlives reopening a frozen camera."""
        if self._repeated is not None and _same(self._repeated, image):
            self._outlasted_key |= key_picture
            return True
        self._repeated, self._repeated_since = image, at
        self._outlasted_key = self._frozen = False
        return False

    def _repeated_seconds(self, at: float) -> float:
        """For how long the picture has been shown; opened anew, a camera may begin with it and has as long again."""
        self._repeated_since = at if self._repeated_since is None else self._repeated_since
        return at - self._repeated_since

    def _is_dark(self, at: float, *, black: bool) -> bool:
        if black:
            self._dark_since = at if self._dark_since is None else self._dark_since
            self._light_since = None
            return self._state.status is CameraStatus.DARK or at - self._dark_since >= self._dark_seconds
        self._light_since = at if self._light_since is None else self._light_since
        if self._state.status is CameraStatus.DARK and at - self._light_since < LIGHT_SECONDS:
            return True
        self._dark_since = None
        return False

    def _forget(self) -> None:
        """Begin anew with the next picture; only a frozen one is remembered, to be known again."""
        if not self._frozen:
            self._repeated = None
        self._repeated_since = None
        self._dark_since = self._light_since = None

    def _set(self, status: CameraStatus, reason: str, now: Instant) -> None:
        if status is not self._state.status:
            self._state = CameraState(self._camera, status, now.utc, reason)
        elif reason != self._state.reason:
            self._state = CameraState(self._camera, status, self._state.since, reason)


def _sample(image: Image) -> Image:
    return image[::_SAMPLE_STEP, ::_SAMPLE_STEP]


def _is_black(image: Image) -> bool:
    sample = _sample(image)
    return int(np.count_nonzero(sample < DARK_LEVEL)) >= DARK_SHARE * sample.size


def _same(first: Image, second: Image) -> bool:
    """Equal in every pixel; a sample tells almost all that differ apart."""
    return np.array_equal(_sample(first), _sample(second)) and np.array_equal(first, second)
