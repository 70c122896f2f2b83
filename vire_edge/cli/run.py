"""`vire-edge run`: the daemon itself."""

from __future__ import annotations

import gc
import json
import os
import sys
from importlib import import_module
from typing import Annotated

import typer

from vire_edge.cli.options import ConfigOption, name_source_option


def run(
    config: ConfigOption = None,
    source: Annotated[
        str | None,
        typer.Option(
            metavar="SOURCE",
            help="Watch this instead of the configured cameras: 0, /dev/video0, rtsp://…, a video file, a folder of "
            "pictures, or synthetic (a play of one minute).",
        ),
    ] = None,
) -> None:
    """Watch: from the camera to a caregiver's alert, until SIGTERM, Ctrl-C or the end of every recording.

    Without a configuration it takes the first webcam and a broker of its own on 127.0.0.1:1883;
    follow it with "vire-edge watch" in a second terminal.
    """
    gc.disable()  # until everything is up: what starting makes stays, and a tenth of a second goes into looking at it
    _import_structlog_alone()
    from vire_edge.cli.logs import configure_logs
    from vire_edge.config import chosen_path, load_config, warn_of_readers
    from vire_edge.daemon import run_service
    from vire_edge.errors import CameraError

    environment = dict(os.environ)
    if source is not None:
        environment["VIRE_EDGE_CAMERAS"] = json.dumps([{"source": source}])
    settings = load_config(config, environ=environment)
    configure_logs(settings.log)
    warn_of_readers(settings, chosen_path(config))
    try:
        run_service(settings)
    except CameraError as error:
        if source is None:
            raise
        raise CameraError(name_source_option(str(error))) from error


def _import_structlog_alone() -> None:
    """Import structlog without Rich, which it takes along, where it finds it, for tracebacks in colours: 4 MB."""
    if "rich" in sys.modules:
        return
    # Python's own sign for what is not to be imported.
    sys.modules["rich"] = None  # type: ignore[assignment]
    try:
        import_module("structlog")
    finally:
        del sys.modules["rich"]
