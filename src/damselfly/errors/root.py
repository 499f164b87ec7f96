"""The class of all errors of ours."""


class DamselflyError(Exception):
    """Something went wrong; the class says what to do next.

    Attributes:
        http_status: For whoever answers HTTP with it ...
        http_headers: ... and what goes with it: a source's challenge, when to come again.
    """

    exit_code = 1
    http_status = 500
    http_headers: tuple[tuple[str, str], ...] = ()
