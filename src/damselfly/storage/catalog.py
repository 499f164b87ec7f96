"""`edition.json`: what an entry on disk is, so that the next process knows it."""

import os
from pathlib import Path
from typing import Self

import msgspec

from damselfly.core.digest import Digest
from damselfly.core.task import (
    Edition,
    EditionId,
    TaskId,
    Validators,
    is_edition_id,
    is_task_id,
)
from damselfly.errors import TaskSpecError


class EditionFile(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """The file's fields.

    Attributes:
        boot_id: The run of the machine in which it was last written.
        is_public: The source gave it to somebody who showed no credentials.
        content_mtime_ns: Time stamp of a sealed content.
        content_bytes: Its length.
        is_settled: The disk has all of a sealed content: it outlives a crash of the machine.
        cipher: See `Edition`, as the three that follow.
        is_kept: The operator wants it kept.
        is_imported: It was put in from a file.
        is_packed: It lies as packed blocks.
        import_url: By which it was put in, if that names it together with the tag.
        import_tag: See there.
    """

    edition_id: str
    task_id: str
    block_bytes: int
    size_bytes: int | None
    etag: str = ""
    last_modified: str = ""
    digest: str = ""
    display_url: str = ""
    boot_id: str = ""
    is_sealed: bool = False
    is_public: bool = False
    validated_wall_s: float = 0.0
    used_wall_s: float = 0.0
    content_mtime_ns: int = 0
    content_bytes: int = 0
    is_settled: bool = False
    cipher: int = 0
    key_id: int = 0
    key_name: str = ""
    wrapped_key: bytes = b""
    is_kept: bool = False
    is_imported: bool = False
    is_packed: bool = False
    import_url: str = ""
    import_tag: str = ""

    @classmethod
    def of(cls, edition: Edition, **state: str | float | bool) -> Self:
        """Return the file for an edition and the state of its entry."""
        return cls(
            edition_id=edition.edition_id,
            task_id=edition.task_id,
            block_bytes=edition.block_bytes,
            size_bytes=edition.size_bytes,
            etag=edition.validators.etag,
            last_modified=edition.validators.last_modified,
            digest=str(edition.digest or ""),
            display_url=edition.display_url,
            cipher=edition.cipher,
            key_id=edition.key_id,
            key_name=edition.key_name,
            wrapped_key=edition.wrapped_key,
            is_packed=edition.is_packed,
            **state,  # type: ignore[arg-type]  # the caller names fields above
        )

    def edition(self) -> Edition | None:
        """Return the edition, None when a field is impossible."""
        is_possible = (
            is_edition_id(self.edition_id)
            and is_task_id(self.task_id)
            and self.block_bytes > 0
            and (self.size_bytes is None or self.size_bytes >= 0)
            and bool(self.cipher) == bool(self.key_id)
            and (self.is_packed or not self.cipher)
        )
        if not is_possible:
            return None
        try:
            digest = Digest.parse(self.digest) if self.digest else None
        except TaskSpecError:
            return None
        return Edition(
            edition_id=EditionId(self.edition_id),
            task_id=TaskId(self.task_id),
            block_bytes=self.block_bytes,
            size_bytes=self.size_bytes,
            validators=Validators(etag=self.etag, last_modified=self.last_modified),
            digest=digest,
            display_url=self.display_url,
            cipher=self.cipher,
            key_id=self.key_id,
            key_name=self.key_name,
            wrapped_key=self.wrapped_key,
            is_packed=self.is_packed,
        )


def read_edition_file(folder: Path) -> EditionFile | None:
    """Return what a folder's file says, None when there is none that can be read."""
    try:
        return msgspec.json.decode((folder / "edition.json").read_bytes(), type=EditionFile)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None


def write_edition_file(folder: Path, known: EditionFile) -> None:
    """Write the file so that it is always the old one or the new one."""
    temporary = folder / "edition.json.new"
    with temporary.open("wb") as file:
        file.write(msgspec.json.encode(known))
        file.flush()
        if known.is_settled:
            os.fsync(file.fileno())
    temporary.replace(folder / "edition.json")
