"""What goes wrong with who gives bytes: sources and parents."""

from typing import Final

from damselfly.errors.root import DamselflyError


class SourceError(DamselflyError):
    """The source did not give the content."""

    exit_code = 10
    http_status = 502


NAME_UNKNOWN: Final = "its name is not known"


class SourceUnreachableError(SourceError):
    """The source does not answer at all.

    Attributes:
        url: The source, without credentials and query.
        copy_age_s: How long ago it confirmed what the cache has; None: there is nothing whole.
    """

    exit_code = 11

    def __init__(self, *, url: str, reason: str, copy_age_s: float | None = None) -> None:
        self.url, self.reason, self.copy_age_s = url, reason, copy_age_s
        hint = "; try again when it is up"
        if reason == NAME_UNKNOWN:
            hint = "; check the name, and the DNS of whoever asks it"
        if copy_age_s is not None:
            hint += (
                f", or let the setting serve_stale hand out the copy that it confirmed "
                f"{copy_age_s:.0f} s ago"
            )
        super().__init__(f"source {url} cannot be reached: {reason}{hint}")


class SourceRefusedError(SourceError):
    """The source answered with a refusal.

    Attributes:
        url: The source, without credentials and query.
        status: Its HTTP status.
        http_headers: What of its answer goes to whoever asked.
    """

    exit_code = 12

    def __init__(
        self,
        *,
        url: str,
        status: int,
        http_headers: tuple[tuple[str, str], ...] = (),
        hint: str = "",
    ) -> None:
        self.url, self.status, self.http_headers = url, status, http_headers
        self.http_status = status if 400 <= status < 500 else 502  # noqa: PLR2004
        pauses = (value for name, value in http_headers if name.lower() == "retry-after")
        pause = next(pauses, "")
        again = f"try again in {pause} s" if pause.isdecimal() else "try again later"
        usual = "check the address"
        if status >= 500:  # noqa: PLR2004
            usual = again if pause else "ask whoever runs it"
        hint = hint or {
            401: "it wants credentials; dfget gives them with --header, an engine by its login",
            403: "these credentials may not read it",
            404: "there is nothing at this address",
            416: "it cannot give this range",
            429: f"it is asked too often; {again}",
        }.get(status, usual)
        super().__init__(f"source {url} answered {status}: {hint}")


class SourceIllError(SourceError):
    """The source failed too often, and is left alone for a while.

    Attributes:
        url: The source, without credentials and query.
        reason: What was last wrong with it.
    """

    exit_code = 18
    http_status = 503

    def __init__(self, *, url: str, reason: str, ill_s: float, retry_s: float) -> None:
        self.url, self.reason = url, reason
        self.http_headers = (("Retry-After", f"{retry_s:.0f}"),)
        super().__init__(
            f"source {url} has been failing for {ill_s:.0f} s ({reason}), so it is left alone; "
            f"it is tried again in {retry_s:.0f} s"
        )


class SourceBrokenError(SourceError):
    """The source broke a promise of its own: a length, a range, an encoding."""

    exit_code = 13

    def __init__(self, *, url: str, reason: str) -> None:
        self.url, self.reason = url, reason
        super().__init__(f"source {url} sent a broken answer: {reason}")


class SourceChangedError(SourceError):
    """The source has other content than when the download began."""

    exit_code = 14

    def __init__(self, *, url: str, promised: str, came: str) -> None:
        self.url, self.promised, self.came = url, promised, came
        super().__init__(
            f"source {url} changed during the download: it promised {promised}, then {came}; "
            "start again to get the new content"
        )


class ParentError(DamselflyError):
    """One parent failed; there are others.

    Attributes:
        parent: Id of the host that failed.
    """

    exit_code = 20
    word = "failed"

    def __init__(self, *, parent: str, reason: str = "") -> None:
        self.parent, self.reason = parent, reason
        super().__init__(f"parent {parent} {self.word}" + (f": {reason}" if reason else ""))


class ParentUnreachableError(ParentError):
    """A parent cannot be reached, or closed the connection midway."""

    word = "cannot be reached"


class ParentStalledError(ParentError):
    """A parent stopped sending in the middle of a block."""

    word = "stalled"


class ParentBusyError(ParentError):
    """A parent has no free slot.

    Attributes:
        retry_after_s: Seconds after which asking again makes sense.
    """

    word = "is busy"

    def __init__(self, *, parent: str, retry_after_s: float) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(parent=parent, reason=f"retry after {retry_after_s:g} s")


class BlockMissingError(ParentError):
    """A parent does not hold the block it was asked for."""

    word = "does not hold the block"


class BlockCorruptError(ParentError):
    """A parent sent bytes that are not the block.

    Attributes:
        block_index: The block that was asked for.
    """

    word = "sent a corrupt block"

    def __init__(self, *, parent: str, block_index: int, reason: str) -> None:
        self.block_index = block_index
        super().__init__(parent=parent, reason=f"block {block_index}: {reason}")
