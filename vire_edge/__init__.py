"""VIRE Edge: a camera at home, the emotion in a face, and an alert for the person who cares.

frame → face → emotion → alert. No image leaves the device. Importing this package
loads nothing heavy; each stage is a module of its own.
"""

__version__ = "0.1.0"
