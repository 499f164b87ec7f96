"""What an operator cannot do with a cache."""

from damselfly.errors.root import DamselflyError


class NotCachedError(DamselflyError):
    """A name means nothing that is in the cache.

    Attributes:
        name: What was named.
    """

    exit_code = 7
    http_status = 404

    def __init__(self, *, name: str, is_part: bool = False) -> None:
        self.name = name
        what = "is in the cache in parts only; download it once" if is_part else "is not cached"
        super().__init__(
            f"{name!r} {what}; a name is a URL, a digest, or the first 8 digits of an id as "
            "`damselfly cache ls` shows them"
        )


class CacheBusyError(DamselflyError):
    """An entry of the cache is in use.

    Attributes:
        name: The entry.
    """

    exit_code = 8
    http_status = 409

    def __init__(self, *, name: str) -> None:
        self.name = name
        super().__init__(f"{name} is in use; nothing was removed, try again when it is not")


class NotPermittedError(DamselflyError):
    """Who asks may not do this.

    Attributes:
        what: What it is about.
    """

    exit_code = 9
    http_status = 403

    def __init__(self, *, what: str) -> None:
        self.what = what
        super().__init__(
            f"{what} is changed by root and the process's own user alone; use sudo, or ask them"
        )
