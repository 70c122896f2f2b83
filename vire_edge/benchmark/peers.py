"""Other packages that find faces and read emotions, where they are installed."""

from __future__ import annotations

import importlib.metadata
import warnings
from collections.abc import Callable
from typing import Any

import cv2

from vire_edge.benchmark.agreement import Sight
from vire_edge.benchmark.contestants import Contestant
from vire_edge.benchmark.scenes import CAMERA, Shot
from vire_edge.domain import BoundingBox
from vire_edge.errors import DependencyError
from vire_edge.training.backend import quiet_stderr


class FerPeer:
    """The package `fer`: the same Haar cascade on the whole of each frame, and a mini-XCEPTION for each face.

    https://github.com/justinshenk/fer; its defaults, from 25 on with the network in TensorFlow Lite.
    """

    def __init__(self) -> None:
        """Load its cascade and network."""
        from fer.fer import FER  # noqa: PLC0415 - TensorFlow takes seconds and hundreds of megabytes

        self.name = f"fer {importlib.metadata.version('fer')}"
        self._reader: Any = FER(mtcnn=False)

    def look(self, shot: Shot, camera: str = CAMERA) -> Sight:  # noqa: ARG002 - it remembers nothing
        """See who is in a picture."""
        image = shot.image if shot.image.ndim == 3 else cv2.cvtColor(shot.image, cv2.COLOR_GRAY2BGR)
        faces = self._reader.detect_emotions(image)
        return Sight(shot.seconds, tuple(BoundingBox(*(int(value) for value in face["box"])) for face in faces))

    def take_stages(self) -> dict[str, float]:
        """Nobody can look inside."""
        return {}


PEERS: dict[str, Callable[[], Contestant]] = {"fer": FerPeer}
"""Distribution → what loads it."""


def load_peer(name: str) -> Contestant:
    """Load a package that does the same.

    Args:
        name: one of `PEERS`.

    Raises:
        DependencyError: it is not installed, or fails.
    """
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        raise DependencyError(f"{name} is not installed; run: pip install {name}") from None
    try:
        with quiet_stderr(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return PEERS[name]()
    except Exception as error:  # what others fail with is theirs
        raise DependencyError(
            f"{name} is installed and fails: {str(error).partition(chr(10))[0] or type(error).__name__}"
        ) from error
