"""What operators see of an edition in a cache, at the SuperNode and at a host."""

from typing import Any

from damselfly.storage.store import StoredEdition


def edition_seen(entry: StoredEdition) -> dict[str, Any]:
    """Return an entry of the cache as the API shows it."""
    edition = entry.edition
    return {
        "task_id": edition.task_id,
        "edition_id": edition.edition_id,
        "url": edition.display_url,
        "size_bytes": edition.size_bytes,
        "block_bytes": edition.block_bytes,
        "held_count": len(entry.held),
        "is_sealed": entry.is_sealed,
        "digest": str(edition.digest or ""),
        "is_encrypted": bool(edition.cipher),
        "is_locked": entry.is_locked,
    }
