"""The command line: the only place that prints, and that turns an error into a line and an exit status."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup

import vire_edge
from vire_edge.errors import VireError

_PANELS = {
    "Watch": {"run": "run", "demo": "demo", "watch": "watch", "classify": "classify"},
    "Set up": {
        "doctor": "doctor",
        "benchmark": "benchmark",
        "check-config": "config",
        "address-filter": "address_filter",
        "schema": "config",
    },
    "Make a model": {
        "train": "training.train",
        "tune": "training.tune",
        "evaluate": "training.evaluate",
        "results": "training.results",
        "export": "training.export",
        "make-faces": "training.make_faces",
    },
}
"""Heading of the help → command → the module here whose function of the same name it is."""


class _CommandsOnDemand(TyperGroup):
    """Imports a command when it is asked for: the daemon starts sooner, with nothing of the others in its memory."""

    def list_commands(self, _context: Any) -> list[str]:
        return [name for commands in _PANELS.values() for name in commands]

    def get_command(self, context: Any, name: str) -> Any:
        for panel, commands in _PANELS.items():
            if name in commands and name not in self.commands:
                function = getattr(import_module(f"{__name__}.{commands[name]}"), name.replace("-", "_"))
                single = typer.Typer(add_completion=False)
                single.command(name, rich_help_panel=panel)(function)
                self.commands[name] = typer.main.get_command(single)
        if name not in self.commands:
            for known in self.list_commands(context):  # for "Did you mean …?"
                self.get_command(context, known)
        return self.commands.get(name)


app = typer.Typer(
    name="vire-edge",
    cls=_CommandsOnDemand,
    help="Watches over people at home: reads the emotion in a face, on this device, and alerts a caregiver over MQTT.",
    epilog="Start with: vire-edge demo",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


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
