"""Cameras: webcams, streams, files, folders of pictures and a synthetic actor become frames.

What can go wrong with a camera stays in here: it is noticed, reported in `Camera.state` and mended without the
consumer doing anything. What is in a picture is nobody's business here.
"""

from vire_edge.camera.camera import Camera
from vire_edge.camera.script import DEMO_SCRIPT, Look, Script, Step
from vire_edge.camera.source import Capture, Image, Source
from vire_edge.camera.sources import source_for
from vire_edge.camera.synthetic import ShownFace, SyntheticSource

__all__ = [
    "DEMO_SCRIPT",
    "Camera",
    "Capture",
    "Image",
    "Look",
    "Script",
    "ShownFace",
    "Source",
    "Step",
    "SyntheticSource",
    "source_for",
]
