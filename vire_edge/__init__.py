"""VIRE Edge: a camera at home, the emotion in a face, and an alert for the person who cares.

frame → face → emotion → alert. No image leaves the device. Importing this package
loads nothing heavy; each stage is a module of its own.
"""

import os

# ONNX Runtime reports its use to its maker and keeps a database of that in the home folder unless this stands in the
# environment before it is imported, which is why it stands here: nothing goes from a home to anyone but its broker.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

__version__ = "0.1.0"
