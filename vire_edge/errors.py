"""The exception tree: every failure that a user can mend, with the exit status it ends in.

Each message names the thing, its value and the remedy. `cli` alone prints them.
Exit statuses follow `sysexits.h`, so that systemd and scripts can tell them apart.
"""

from __future__ import annotations

from typing import ClassVar

MISPLACED = (FileNotFoundError, IsADirectoryError, NotADirectoryError)
"""What a wrong path alone raises. Any other `OSError` on reading a file may pass: a disk, a share, a mount, a right."""


class VireError(Exception):
    """The root: something went wrong that the user can understand and mend."""

    exit_status: ClassVar[int] = 1


class ConfigError(VireError):
    """The configuration file, an environment variable or an option is wrong."""

    exit_status = 78  # EX_CONFIG


class ConfigUnavailableError(ConfigError):
    """A file of the configuration is there and cannot be read now: worth another try, which systemd makes."""

    exit_status = 75  # EX_TEMPFAIL


class CameraError(VireError):
    """A camera, stream, file or folder of images cannot be opened or read."""

    exit_status = 66  # EX_NOINPUT


class ModelError(VireError):
    """The model file is missing, damaged or breaks the model contract."""

    exit_status = 65  # EX_DATAERR


class ModelUnavailableError(ModelError):
    """The model is there and cannot be read or tried out now: worth another try, which systemd makes."""

    exit_status = 75  # EX_TEMPFAIL


class DatasetError(VireError):
    """Training data is missing or broken."""

    exit_status = 65  # EX_DATAERR


class TrainingError(VireError):
    """A training run, its directory or its settings cannot be used."""

    exit_status = 65  # EX_DATAERR


class BrokerError(VireError):
    """The MQTT broker refuses us for good, or the embedded broker cannot start."""

    exit_status = 69  # EX_UNAVAILABLE


class DependencyError(VireError):
    """An optional package or a system library that this command needs is missing."""

    exit_status = 69  # EX_UNAVAILABLE


class StorageError(VireError):
    """A file or folder cannot be written or read: full, read-only or not permitted."""

    exit_status = 74  # EX_IOERR


class StandstillError(VireError):
    """A part of the daemon stands still, and beginning it anew did not help."""

    exit_status = 70  # EX_SOFTWARE
