"""Whether an answer of a source is about the edition that is being read."""

from damselfly.core.task import Edition, TaskSpec, Validators
from damselfly.errors import SourceChangedError
from damselfly.transport.provider import SourceAnswer


def check_same(spec: TaskSpec, edition: Edition, answer: SourceAnswer) -> None:
    """Check that an answer is about an edition.

    Raises:
        SourceChangedError: It is about another one.
    """
    came = f"{answer.validators.etag or answer.validators.last_modified or 'another version'}"
    if edition.size_bytes is not None and answer.size_bytes not in (None, edition.size_bytes):
        came = f"{answer.size_bytes} bytes"
    elif spec.digest is not None or _is_same(edition.validators, answer.validators):
        return
    promised = edition.validators.etag or edition.validators.last_modified
    raise SourceChangedError(
        url=spec.display_url, promised=promised or f"{edition.size_bytes} bytes", came=came
    )


def _is_same(known: Validators, told: Validators) -> bool:
    """Say whether validators name the same version; an ETag outweighs a date."""
    return told == known or bool(known.etag and told.etag == known.etag)
