"""What an edition is, by what its source said of it."""

import secrets

from damselfly.core.blocks import block_bytes_for
from damselfly.core.digest import Digest
from damselfly.core.task import Edition, SourceFacts, TaskSpec, name_edition
from damselfly.transport.provider import SourceAnswer
from damselfly.wire.ciphers.data_keys import DataKey


def edition_by_digest(
    spec: TaskSpec, digest: Digest, size_bytes: int, *, link_rate_bytes_per_s: float
) -> Edition:
    """Return the edition in plain of a content that its digest tells: the same for everybody.

    Args:
        spec: What it is a version of.
        digest: Of the whole.
        size_bytes: Its length.
        link_rate_bytes_per_s: What one host's link carries; the block size follows from it.
    """
    block_bytes = block_bytes_for(size_bytes, link_rate_bytes_per_s=link_rate_bytes_per_s)
    return cut_edition(spec, digest, size_bytes, block_bytes=block_bytes)


def cut_edition(spec: TaskSpec, digest: Digest, size_bytes: int, *, block_bytes: int) -> Edition:
    """Return what `edition_by_digest` does, for a cut that is given."""
    facts = SourceFacts(size_bytes=size_bytes, digest=digest)
    return Edition(
        edition_id=name_edition(spec.task_id, facts, block_bytes=block_bytes, reading=""),
        task_id=spec.task_id,
        block_bytes=block_bytes,
        size_bytes=size_bytes,
        digest=digest,
        display_url=spec.display_url,
    )


def edition_of(
    spec: TaskSpec,
    answer: SourceAnswer,
    data_key: DataKey | None,
    *,
    link_rate_bytes_per_s: float,
    is_packed: bool,
) -> Edition:
    """Return the edition that a source described.

    Args:
        spec: What was asked for.
        answer: The head of its answer.
        data_key: What its blocks are sealed with; None: it is not encrypted.
        link_rate_bytes_per_s: What one host's link carries; the block size follows from it.
        is_packed: Its blocks are compressed where that pays.
    """
    block_bytes = block_bytes_for(answer.size_bytes, link_rate_bytes_per_s=link_rate_bytes_per_s)
    digest = spec.digest or answer.digest
    facts = SourceFacts(size_bytes=answer.size_bytes, validators=answer.validators, digest=digest)
    key_id = data_key.key_id if data_key else 0
    return Edition(
        edition_id=name_edition(
            spec.task_id,
            facts,
            block_bytes=block_bytes,
            reading=secrets.token_hex(16),
            key_id=key_id,
        ),
        task_id=spec.task_id,
        block_bytes=block_bytes,
        size_bytes=answer.size_bytes,
        validators=answer.validators,
        digest=digest,
        display_url=spec.display_url,
        is_packed=is_packed or data_key is not None,
        cipher=data_key.cipher.cipher_id if data_key else 0,
        key_id=key_id,
    )
