"""Where each message goes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Topics:
    """The topics of one device, `<prefix>/<device_id>/…`."""

    prefix: str
    device_id: str

    @property
    def root(self) -> str:
        """What all topics begin with, without the last slash."""
        return f"{self.prefix}/{self.device_id}"

    @property
    def availability(self) -> str:
        """Whether the device is there; also the last will's topic."""
        return f"{self.root}/availability"

    def state(self, camera: str) -> str:
        """The people whom a camera sees."""
        return f"{self.root}/state/{camera}"

    def camera(self, camera: str) -> str:
        """What a camera itself is doing."""
        return f"{self.root}/camera/{camera}"

    @property
    def alerts(self) -> str:
        """Episodes as they start, escalate and end."""
        return f"{self.root}/alerts"

    @property
    def active_alerts(self) -> str:
        """The open episodes."""
        return f"{self.root}/alerts/active"

    @property
    def health(self) -> str:
        """The device's report on itself."""
        return f"{self.root}/health"

    @property
    def commands(self) -> str:
        """The filter that all commands match."""
        return f"{self.root}/command/+"

    def command(self, verb: str) -> str:
        """Where a caregiver's app sends a command."""
        return f"{self.root}/command/{verb}"

    def response(self, verb: str) -> str:
        """Where the device answers it."""
        return f"{self.root}/response/{verb}"
