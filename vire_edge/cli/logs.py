"""Structured logs on standard error: coloured lines on a terminal, JSON elsewhere, with priorities for the journal."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping
from typing import TextIO

import structlog

from vire_edge.config import LogConfig

PRIORITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}
"""syslog(3)'s, by which `journalctl -p warning` chooses."""


def configure_logs(config: LogConfig) -> None:
    """Set up structlog, and the standard library's loggers of the packages in use, for this process."""
    level = logging.getLevelNamesMapping()[config.level.upper()]
    console = config.format == "console" or (config.format == "auto" and sys.stderr.isatty())
    renderer: structlog.typing.Processor = structlog.processors.JSONRenderer()
    if console:
        renderer = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), sort_keys=False, pad_event_to=0)
    described: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="%H:%M:%S" if console else "iso", utc=not console),
        structlog.processors.format_exc_info,
    ]
    rendered = [renderer, _with_priority] if is_journal(sys.stderr, os.environ) else [renderer]
    structlog.configure(
        processors=[*described, *rendered],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    packages = logging.StreamHandler(sys.stderr)
    packages.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *described],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendered],
        )
    )
    logging.basicConfig(level=max(level, logging.WARNING), handlers=[packages])


def is_journal(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Whether what is written here goes to systemd's journal: JOURNAL_STREAM names its device and inode."""
    try:
        status = os.fstat(stream.fileno())
    except OSError:
        return False
    return environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def _with_priority(_logger: structlog.typing.WrappedLogger, level: str, text: str) -> str:
    """Put sd-daemon(3)'s prefix, which the journal takes off again, before each line."""
    prefix = f"<{PRIORITIES[level]}>"
    return prefix + text.replace("\n", f"\n{prefix}")
