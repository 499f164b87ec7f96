"""Errors that another process of ours told."""

from damselfly import errors
from damselfly.errors import DamselflyError


def revive(
    name: str,
    message: str,
    *,
    http_status: int = 0,
    http_headers: tuple[tuple[str, str], ...] = (),
) -> DamselflyError:
    """Return an error that another process of ours told, by class name and message.

    A name that is not known here, from a newer version, becomes a `DamselflyError`.
    """
    found = vars(errors).get(name)
    kind = DamselflyError
    if isinstance(found, type) and issubclass(found, DamselflyError):
        kind = found
    error = kind.__new__(kind)
    Exception.__init__(error, message)
    if http_status:
        error.http_status = http_status
    error.http_headers = http_headers
    return error
