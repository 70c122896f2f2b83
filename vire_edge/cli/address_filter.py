"""`vire-edge address-filter`: lets the service speak to its broker and cameras, and to nobody else.

systemd drops what goes to or comes from any other address. An alert must never fall to that, so a filter is made only
where every address is known for certain: a name's address may change, and then there is none.
"""

from __future__ import annotations

import subprocess
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from vire_edge.cli.options import ConfigOption
from vire_edge.errors import ConfigError, StorageError

if TYPE_CHECKING:
    from vire_edge.config import Config

SYSTEMD = Path("/run/systemd/system")
"""There while systemd runs."""
DROP_IN = Path("/etc/systemd/system/vire-edge.service.d/address-filter.conf")
PROGRAM = Path("/opt/vire-edge/venv/bin/vire-edge")
TEXT = """\
# Written by vire-edge for the addresses in its configuration. Not wanted? Empty this file; it stays empty.
[Service]
IPAddressDeny=any
IPAddressAllow={allowed}
# Whatever the configuration names by then: the filter follows it before the daemon starts.
ExecStartPre=-+{program} address-filter --config {config} --write {drop_in}
"""


def address_filter(
    config: ConfigOption = None,
    write: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write this file, or remove it where no filter is possible.")
    ] = None,
) -> None:
    """Print the drop-in that keeps the systemd unit from all addresses but the broker's and the cameras'.

    deploy/install.sh writes it for a broker that is known by its address.
    """
    from vire_edge.config import DEFAULT_PATH, load_config

    settings = load_config(config)
    try:
        allowed = " ".join(["localhost", *needed_addresses(settings)])
    except ConfigError as error:
        text, said = "", f"none: {error}"
    else:
        text = TEXT.format(allowed=allowed, program=PROGRAM, config=DEFAULT_PATH, drop_in=DROP_IN)
        said = f"only {allowed}"
    if write is None:
        print(text or f"# {said}", end="" if text else "\n")
    elif _place(text, write):
        print(f"Address filter {write}: {said}")


def needed_addresses(config: Config) -> list[str]:
    """Return every address but loopback that the daemon speaks to.

    Raises:
        ConfigError: not all of them can be known for certain.
    """
    from vire_edge.config import redact_source

    if config.mqtt.host is None:
        raise ConfigError("mqtt.host is not set, and who comes to the embedded broker is not known")
    hosts = {"mqtt.host": config.mqtt.host}
    for index, camera in enumerate(config.cameras):
        source = redact_source(camera.source)
        if "://" in source:
            hosts[f"cameras[{index}].source"] = urlsplit(source).hostname or source
    return sorted({_address(key, host) for key, host in hosts.items()} - {""})


def _address(key: str, host: str) -> str:
    """The address that a host is, empty for loopback."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        if host == "localhost":
            return ""
        raise ConfigError(f"{key}: the address behind the name {host!r} may change") from None
    if address.is_multicast or address.is_unspecified:
        raise ConfigError(f"{key}: who sends to {host} is not known")
    return "" if address.is_loopback else str(address)


def _place(text: str, path: Path) -> bool:
    """Make `path` hold `text`, and tell systemd if that changes anything; return whether it does."""
    try:
        present = path.read_text(encoding="utf-8") if path.exists() else None
        if present in ("", text or None):  # emptied by hand, or what it should be
            return False
        if text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        else:
            path.unlink()
    except OSError as error:
        raise StorageError(f"{path} cannot be changed: {error.strerror}; run this as root") from error
    if path == DROP_IN and SYSTEMD.is_dir():
        subprocess.run(["systemctl", "daemon-reload"], check=False)  # noqa: S607 - root's own PATH
    return True
