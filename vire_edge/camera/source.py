"""What a camera reads from: the two roles that webcams, streams, files, the actor and the tests' fakes fulfil.

A `Source` only describes; each `open()` gives a fresh `Capture`. So a thread that hangs inside one capture can be
left behind while the next one is opened.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from vire_edge.preprocess import to_gray

Image = NDArray[np.uint8]
"""uint8 `[height, width]` gray, which is all that the analysis looks at, or `[height, width, 3]` BGR."""


class Capture(Protocol):
    """An opened source. One thread uses it from the first call to `close()`."""

    @property
    def position_seconds(self) -> float:
        """Media time of the picture that was grabbed last, from 0, never backwards; 0 for a live source."""

    @property
    def is_key_picture(self) -> bool:
        """Whether the picture that was grabbed last was coded without reference to an earlier one."""

    def grab(self) -> bool:
        """Go on to the next picture, waiting for it if the source is live, without decoding it where that is cheap.

        Returns:
            False when there is none: the end of a file, or a device or stream that failed.
        """

    def retrieve(self) -> Image | None:
        """Return the picture that was grabbed last, a new array each time; None if it is damaged."""

    def close(self) -> None:
        """Release the device, the connection or the file."""


class Source(Protocol):
    """Where pictures come from."""

    @property
    def live(self) -> bool:
        """True for what goes on without being read (a webcam, a stream), False for what has its own media time."""

    def check(self) -> None:
        """Find what no waiting can mend, such as a file that is no video.

        Raises:
            CameraError: names the thing, the value and the remedy.
        """

    def open(self) -> Capture:
        """Open it anew, from the beginning if it has one.

        Raises:
            CameraError: it cannot be opened now; a live source may come up later.
        """


def as_image(picture: Any) -> Image | None:
    """Return `picture` if the pipeline can use it: a non-empty uint8 gray or BGR array; None for anything else."""
    if not isinstance(picture, np.ndarray) or picture.dtype != np.uint8 or picture.size == 0:
        return None
    if picture.ndim == 2 or (picture.ndim == 3 and picture.shape[2] == 3):
        return picture
    return None


def as_gray(picture: Any) -> Image | None:
    """Return `picture` in gray if it is one that the pipeline can use, else None.

    Cameras do this at once: a third of the bytes is handed on, compared and kept.
    """
    image = as_image(picture)
    return None if image is None else to_gray(image)
