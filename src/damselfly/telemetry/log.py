"""The log: JSON lines on standard error, or coloured ones when a person reads them."""

import errno
import logging
import sys
from enum import StrEnum
from typing import Final, TextIO

import structlog

OUT_OF_FILES: Final = (errno.EMFILE, errno.ENFILE)


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
    event_loop = logging.getLogger("asyncio")
    event_loop.handlers[:] = [_EventLoopLog()]
    event_loop.propagate = False


class _EventLoopLog(logging.Handler):
    """Writes what the event loop complains about as events like all others."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        exc = record.exc_info[1] if record.exc_info else None
        if isinstance(exc, OSError) and exc.errno in OUT_OF_FILES:
            reason = f"{exc.strerror}: raise the limit of open files".lower()
            get_log().warning("connection_not_taken", reason=reason)
        elif record.levelno >= logging.WARNING:
            reason = record.getMessage()
            get_log().error("event_loop", reason=reason, exc_info=record.exc_info or None)


def set_up_quiet_log() -> None:
    """Log errors alone, inside a program that is not ours, unless it has a log of its own."""
    if not structlog.is_configured():
        set_up_log(Level.ERROR)


def get_log() -> structlog.typing.FilteringBoundLogger:
    """Return the log; an event is a name in snake case and fields, never a sentence."""
    log: structlog.typing.FilteringBoundLogger = structlog.get_logger()
    return log
