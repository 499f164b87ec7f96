"""The log: JSON lines on standard error, or coloured ones when a person reads them."""

import logging
import sys
from enum import StrEnum
from typing import TextIO

import structlog


class Level(StrEnum):
    """How much is logged: events of this level and above."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def set_up_log(level: Level = Level.INFO, *, stream: TextIO | None = None) -> None:
    """Send events of at least this level to a stream, standard error by default."""
    out = stream or sys.stderr
    renderer: structlog.types.Processor
    if out.isatty():
        renderer = structlog.dev.ConsoleRenderer(pad_event_to=0)
    else:
        renderer = structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.PrintLoggerFactory(out),
        cache_logger_on_first_use=False,
    )


def set_up_quiet_log() -> None:
    """Log errors alone, inside a program that is not ours, unless it has a log of its own."""
    if not structlog.is_configured():
        set_up_log(Level.ERROR)


def get_log() -> structlog.typing.FilteringBoundLogger:
    """Return the log; an event is a name in snake case and fields, never a sentence."""
    log: structlog.typing.FilteringBoundLogger = structlog.get_logger()
    return log
