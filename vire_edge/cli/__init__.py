"""The command line: the only place that prints, and that turns an error into a line and an exit status."""

from __future__ import annotations

import sys

import typer

import vire_edge
from vire_edge.cli.address_filter import address_filter
from vire_edge.cli.classify import classify
from vire_edge.cli.config import check_config, schema
from vire_edge.cli.demo import demo
from vire_edge.cli.doctor import doctor
from vire_edge.cli.run import run
from vire_edge.cli.training import evaluate, export, make_faces, results, train, tune
from vire_edge.cli.watch import watch
from vire_edge.errors import VireError

app = typer.Typer(
    name="vire-edge",
    help="Watches over people at home: reads the emotion in a face, on this device, and alerts a caregiver over MQTT.",
    epilog="Start with: vire-edge demo",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for panel, commands in (
    ("Watch", (run, demo, watch, classify)),
    ("Set up", (doctor, check_config, address_filter, schema)),
    ("Make a model", (train, tune, evaluate, results, export, make_faces)),
):
    for command in commands:
        app.command(rich_help_panel=panel)(command)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"vire-edge {vire_edge.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(
        False, "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
    ),
) -> None: ...


def main() -> None:
    """Run the command line."""
    try:
        app()
    except VireError as error:
        print(f"vire-edge: {error}", file=sys.stderr)
        sys.exit(error.exit_status)
    except BrokenPipeError:
        sys.stderr.close()  # the reader, such as head(1), has had enough
        sys.exit(0)
