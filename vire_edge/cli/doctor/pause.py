"""A pause: somebody has asked for closed cameras, so they stay closed here, too. Importing this needs OpenCV."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from vire_edge.cli.doctor.check import Check, skipped, warning
from vire_edge.cli.doctor.files import state_folder
from vire_edge.clock import read_clocks
from vire_edge.config import Config, device_id
from vire_edge.daemon.commands import PAUSE_KEY, pause_seconds_left
from vire_edge.errors import ConfigError
from vire_edge.messages import Topics
from vire_edge.mqtt.embedded import EmbeddedBroker
from vire_edge.outbox import peek


def paused_until(config: Config) -> datetime | None:
    """Return when the cameras open again; None without a pause, or where the daemon's state cannot be read."""
    now = read_clocks()
    try:
        noted = peek(state_folder(config), PAUSE_KEY, now=now)
        left = 0.0 if noted is None else pause_seconds_left(noted)
    except (ConfigError, ValueError):
        return None
    return now.utc + timedelta(seconds=left) if left > 0 else None


def leave_cameras_closed(config: Config, until: datetime) -> Iterator[Check]:
    """Tell of the pause, and look at no camera.

    Args:
        config: the configuration.
        until: when the pause ends, aware.
    """
    mqtt = config.mqtt if config.mqtt.host else EmbeddedBroker(config.broker).client_config(config.mqtt)
    topic = Topics(config.mqtt.topic_prefix, device_id(config)).command("resume")
    login = ", with a caregiver's login" if mqtt.username or mqtt.tls else ""
    yield warning(
        "pause",
        f"the cameras are closed until {until.astimezone():%H:%M}, as somebody asked",
        f"to go on: mosquitto_pub -h {mqtt.host} -p {mqtt.effective_port} -t {topic} -m '{{}}'{login}",
    )
    for camera in config.cameras:
        yield skipped(f"camera {camera.name}", "closed by the pause")
