"""What a check finds, and what the checks look at."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import msgspec

from damselfly.clock import wall_s
from damselfly.transport.sources.http import Trust
from damselfly.wire.status_messages import HostStatus


class Verdict(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"


class Finding(msgspec.Struct, frozen=True):
    """What one check found.

    Attributes:
        check: Its name; see docs/running/doctor.md.
        verdict: How it ended.
        text: What is so, in one sentence.
        advice: What to do about it, in one sentence; empty if there is nothing to do.
    """

    check: str
    verdict: Verdict
    text: str
    advice: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TriedRegistry:
    """A registry to try.

    Attributes:
        name: As image names have it.
        urls: Where it or its mirrors are, in the order in which the daemon asks them.
        trusts: {origin: how it is verified}, of those that need it.
    """

    name: str
    urls: tuple[str, ...]
    trusts: dict[str, Trust]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What the checks look at.

    Attributes:
        root: Where the engines' files are.
        status: What the daemon tells of itself; None: it does not answer ...
        daemon_error: ... and why.
        listen: Where the daemon listens for hosts, `host:port`.
        proxy: Where it listens for engines, `host:port`; empty: nowhere.
        supernode: `host:port`; empty: none.
        data: The daemon's folder.
        registries: Those to try.
        now_wall_s: This host's clock.
    """

    root: str = "/"
    status: HostStatus | None
    daemon_error: str = ""
    listen: str
    proxy: str
    supernode: str
    data: str
    registries: tuple[TriedRegistry, ...] = ()
    now_wall_s: Callable[[], float] = wall_s


Check = Callable[[Scene], list[Finding]]


def ok(check: str, text: str) -> Finding:
    """Return that all is well."""
    return Finding(check, Verdict.OK, text)


def warning(check: str, text: str, advice: str) -> Finding:
    """Return that something could be better."""
    return Finding(check, Verdict.WARNING, text, advice)


def failed(check: str, text: str, advice: str) -> Finding:
    """Return that something does not work."""
    return Finding(check, Verdict.FAILED, text, advice)


def skipped(check: str, text: str) -> Finding:
    """Return why a check could not be made."""
    return Finding(check, Verdict.SKIPPED, text)
