"""Which device this is, and where it keeps its state."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

from vire_edge.config.base import ENV_PREFIX
from vire_edge.config.settings import Config
from vire_edge.errors import ConfigError

MACHINE_ID = Path("/etc/machine-id")


def device_id(config: Config, *, machine_id: Path = MACHINE_ID) -> str:
    """Return the configured device id, or one made from the machine id so that two devices never collide.

    The machine id itself is confidential (machine-id(5)): a digest of it goes out instead.
    """
    if config.device_id is not None:
        return config.device_id
    try:
        secret = machine_id.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        secret = ""
    if secret:
        return f"vire-{sha256(b'vire-edge:' + secret.encode()).hexdigest()[:12]}"
    return re.sub(r"[^a-z0-9-]+", "-", f"vire-{socket.gethostname().lower()}").strip("-")[:64]


def state_directory(config: Config, *, environ: Mapping[str, str] = os.environ) -> Path:
    """Return where the daemon keeps what must survive a restart.

    Raises:
        ConfigError: nothing names a place, and the user has no home.
    """
    if config.state_dir is not None:
        return config.state_dir
    if given := environ.get("STATE_DIRECTORY"):  # set by systemd's StateDirectory=
        return Path(given.partition(":")[0])
    if base := environ.get("XDG_STATE_HOME"):
        return Path(base) / "vire-edge"
    try:
        return Path.home() / ".local" / "state" / "vire-edge"
    except RuntimeError:  # no HOME, and a user without an entry: a container run as somebody else
        raise ConfigError(
            f"there is no place for the state: user {os.getuid()} has no home; set state_dir or {ENV_PREFIX}STATE_DIR"
        ) from None
