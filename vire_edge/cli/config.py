"""`vire-edge check-config` and `vire-edge schema`."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vire_edge.cli.options import ConfigOption

if TYPE_CHECKING:
    from vire_edge.config import Config


def check_config(
    path: Annotated[Path | None, typer.Argument(metavar="[FILE]", help="The TOML file to check.")] = None,
    config: ConfigOption = None,
    example: Annotated[
        bool, typer.Option("--example", help="Print a commented example file with all defaults instead.")
    ] = False,
    migrate: Annotated[
        bool,
        typer.Option("--migrate", help="Also write a file of an older version in the present form; a backup is kept."),
    ] = False,
) -> None:
    """Check a configuration file together with the environment.

    Exit status 78 if anything is wrong, 75 if the file cannot be read now.

    Example: vire-edge check-config --example > config.toml
    """
    from vire_edge.config import DEFAULT_PATH, device_id, example_toml, load_config, migrate_file, redact_source

    if example:
        print(example_toml(), end="")
        return
    path = path or config
    settings = load_config(path)
    if migrate:
        backup = migrate_file(path or DEFAULT_PATH)
        print("It was of the present version." if backup is None else f"Its older form is kept as {backup}.")
    broker = (
        f"{settings.mqtt.host}:{settings.mqtt.effective_port}"
        if settings.mqtt.host
        else f"embedded, {settings.broker.host}:{settings.broker.port}"
    )
    print("The configuration is valid.")
    print(f"  device   {device_id(settings)}")
    for camera in settings.cameras:
        print(f"  camera   {camera.name}: {redact_source(camera.source)}")
    for alert in settings.alerts:
        print(f"  alert    {alert.name} ({alert.kind}, {alert.severity})")
    print(f"  broker   {broker}")
    for note in _notes(settings):
        print(f"note: {note}")
    print("Cameras, model, certificates and broker were not tried; for that: vire-edge doctor")


def _notes(settings: Config) -> Iterator[str]:
    """What is valid, and perhaps not what was meant."""
    from vire_edge.config import Config, TlsConfig, device_id

    missing = {alert.name for alert in Config().alerts} - {alert.name for alert in settings.alerts}
    if missing:
        yield f"the file's alerts replace the default ones; not in force: {', '.join(sorted(missing))}"
    mqtt = settings.mqtt
    if mqtt.host is None and mqtt.username is not None:
        yield "mqtt.username is set but mqtt.host is not: the embedded broker is used, with broker.username"
    if mqtt.host is not None and mqtt.username not in {None, device_id(settings)}:
        yield (
            "mqtt.username is not the device's name; a broker set up by deploy/mosquitto then takes nothing from it: "
            f'set device_id = "{mqtt.username}"'
        )
    if mqtt.host is not None and mqtt.username is not None and mqtt.password is None:
        yield "mqtt.username is set without a password"
    files = {f"mqtt.tls.{name}": getattr(mqtt.tls or TlsConfig(), name) for name in TlsConfig.model_fields}
    for key, file in ({"model.path": settings.model.path} | files).items():
        if file is not None and not os.access(file, os.F_OK):
            yield f"{key}: {file} is not there, or this user may not see it; correct the path"


def schema() -> None:
    """Print the JSON Schema of every message that the device sends, by topic."""
    from vire_edge.messages import json_schemas

    print(json.dumps(json_schemas(), indent=2))
