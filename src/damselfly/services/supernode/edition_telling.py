"""What a host is told of an edition."""

from damselfly.storage.store import StoredEdition
from damselfly.wire.session_messages import INLINE_BYTES_MAX, EditionTold


def edition_told(entry: StoredEdition, *, is_stale: bool) -> EditionTold:
    """Return the message that names an edition; a short content travels in it."""
    edition = entry.edition
    content = b""
    size = edition.size_bytes
    can_travel = entry.is_sealed and not edition.cipher  # what is encrypted never goes in plain
    if can_travel and size is not None and 0 < size <= INLINE_BYTES_MAX:
        content = b"".join(
            entry.read_span(edition.layout.span(i)) for i in range(edition.layout.block_count)
        )
    return EditionTold(
        task_id=edition.task_id,
        edition_id=edition.edition_id,
        block_bytes=edition.block_bytes,
        size_bytes=-1 if size is None else size,
        etag=edition.validators.etag,
        last_modified=edition.validators.last_modified,
        digest=str(edition.digest or ""),
        content=content,
        is_stale=is_stale,
        is_public=entry.is_public,
        cipher=edition.cipher,
        key_id=edition.key_id,
        is_packed=edition.is_packed,
    )
