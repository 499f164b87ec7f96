"""What a download says to its SuperNode and hears from it: values to messages and back."""

from typing import Final

from damselfly.core.digest import Digest
from damselfly.core.downloading import events as core, instructions as todo
from damselfly.core.peer import HostId
from damselfly.core.task import Edition, EditionId, TaskSpec, Validators, is_edition_id
from damselfly.errors import DamselflyError, RemoteProtocolError
from damselfly.storage.store import StoredEdition
from damselfly.telemetry.log import get_log
from damselfly.transport.session_client import SessionClient
from damselfly.wire import session_messages as wire
from damselfly.wire.told_errors import revive

REFUSALS: Final = range(400, 500)  # of a source; other answers are no answers to our requester

log = get_log()

Told = todo.ReportProgress | todo.Complain | todo.AskSource


class SuperNodeTalk:
    """What one download tells the SuperNode; nothing on a host that has none."""

    def __init__(self, session: SessionClient | None, spec: TaskSpec) -> None:
        self._session = session
        self._spec = spec

    def join(self, entry: StoredEdition | None) -> None:
        """Say that the task is wanted, and what is held of it."""
        self.post(join_message(self._spec, entry))

    def leave(self) -> None:
        """Say that it is not wanted any more."""
        self.post(wire.Leave(task_id=self._spec.task_id))

    def tell(self, instruction: Told, entry: StoredEdition | None, *, is_idle: bool) -> None:
        """Say what the mind wants said."""
        if isinstance(instruction, todo.Complain):
            log.warning("parent_failed", host=instruction.host_id, why=instruction.reason)
        self.post(told_message(instruction, self._spec, entry, is_idle=is_idle))

    def post(self, message: wire.HostMessage) -> None:
        """Send a message; it is dropped on a host without SuperNode."""
        if self._session is not None:
            self._session.post(message)


def join_message(spec: TaskSpec, entry: StoredEdition | None) -> wire.Join:
    """Return the wish for a task, and what is held of it."""
    return wire.Join(
        task_id=spec.task_id,
        url=spec.url,
        digest=str(spec.digest or ""),
        task_tag=spec.tag,
        filtered_query=spec.filtered_query,
        headers=spec.headers,
        edition_id=entry.edition.edition_id if entry else "",
        held_count=len(entry.held) if entry else 0,
        is_encrypted=spec.is_encrypted,
    )


def told_message(
    instruction: Told, spec: TaskSpec, entry: StoredEdition | None, *, is_idle: bool
) -> wire.HostMessage:
    """Return the message for an instruction that is one."""
    edition_id = entry.edition.edition_id if entry else ""
    match instruction:
        case todo.AskSource():
            return wire.SourceAsked(task_id=spec.task_id, reason=instruction.reason)
        case todo.ReportProgress():
            return wire.Progress(
                task_id=spec.task_id,
                edition_id=edition_id,
                held_count=instruction.held_count,
                is_hungry=instruction.is_hungry,
                is_idle=is_idle,
                is_whole=instruction.is_whole,
            )
        case todo.Complain():
            return wire.Complaint(
                task_id=spec.task_id,
                edition_id=edition_id,
                host_id=instruction.host_id,
                block_index=instruction.block_index,
                reason=instruction.reason,
            )


def event_told(message: wire.SourceAnswered | wire.Banned) -> core.Event:
    """Return what a message means to the mind of a download."""
    match message:
        case wire.SourceAnswered():
            return core.SourceAnswered(
                is_granted=message.is_granted, retry_after_s=message.retry_after_s
            )
        case wire.Banned():
            return core.ParentBanned(host_id=HostId(message.host_id))


def edition_told(told: wire.EditionTold, spec: TaskSpec) -> Edition:
    """Return the edition in a message.

    Raises:
        RemoteProtocolError: It is none.
    """
    is_possible = is_edition_id(told.edition_id) and told.block_bytes > 0
    is_sealed_right = bool(told.cipher) == bool(told.key_id) and (told.is_packed or not told.cipher)
    if not is_possible or not is_sealed_right:
        raise RemoteProtocolError("the SuperNode told an edition that cannot be")
    return Edition(
        edition_id=EditionId(told.edition_id),
        task_id=spec.task_id,
        block_bytes=told.block_bytes,
        size_bytes=None if told.size_bytes < 0 else told.size_bytes,
        validators=Validators(etag=told.etag, last_modified=told.last_modified),
        digest=Digest.parse(told.digest) if told.digest else None,
        display_url=spec.display_url,
        cipher=told.cipher,
        key_id=told.key_id,
        is_packed=told.is_packed,
    )


def error_told(failed: wire.Failed) -> DamselflyError:
    """Return the error in a message."""
    return revive(
        failed.error,
        failed.message,
        http_status=failed.status if failed.status in REFUSALS else 0,
        http_headers=failed.http_headers,
    )
