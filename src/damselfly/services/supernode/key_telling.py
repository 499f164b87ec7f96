"""Who is told the data key of an encrypted edition: hosts that were told the edition."""

import secrets
from collections.abc import Callable

from damselfly.core.peer import HostId
from damselfly.core.task import EditionId
from damselfly.errors import TaskRejectedError
from damselfly.storage.store import StoredEdition
from damselfly.telemetry.log import get_log
from damselfly.wire import session_messages as wire

log = get_log()


class KeyTelling:
    """Answers questions for data keys.

    The scheduler has a host told of an edition when the source gives the content to it; what
    is remembered here ends with the host's session, as that does.

    Args:
        entry_of: Returns the entry of an edition, as long as the cache has it.
        post: Sends a message to a host.
    """

    def __init__(
        self,
        *,
        entry_of: Callable[[EditionId], StoredEdition | None],
        post: Callable[[HostId, wire.SuperNodeMessage], None],
    ) -> None:
        self._entry_of = entry_of
        self._post = post
        # {host: ciphers that it can open}
        self._ciphers: dict[HostId, tuple[int, ...]] = {}
        # {host: encrypted editions that it was told of}
        self._told: dict[HostId, set[EditionId]] = {}

    def on_host(self, host_id: HostId, ciphers: tuple[int, ...]) -> None:
        """A host opened its session, and can open bodies of these ciphers."""
        self._ciphers[host_id] = ciphers
        self._told.pop(host_id, None)

    def forget(self, host_id: HostId) -> None:
        """Its session ended."""
        self._ciphers.pop(host_id, None)
        self._told.pop(host_id, None)

    def permit(self, host_id: HostId, entry: StoredEdition) -> bool:
        """A host is to be told of an edition; False: it could not read it, and was told so."""
        cipher = entry.edition.cipher
        if not cipher:
            return True
        if cipher not in self._ciphers.get(host_id, ()):
            reason = f"it is encrypted with cipher {cipher}, which this host does not have"
            self._refuse(host_id, entry.edition.task_id, reason)
            return False
        self._told.setdefault(host_id, set()).add(entry.edition.edition_id)
        return True

    def answer(self, host_id: HostId, asked: wire.KeyAsked) -> None:
        """Answer a host's question.

        Raises:
            RemoteProtocolError: Its public key is none.
        """
        # 30 ms that a SuperNode without encryption need not pay
        from damselfly.wire.ciphers.key_exchange import answer_key  # noqa: PLC0415

        edition_id = EditionId(asked.edition_id)
        entry = self._entry_of(edition_id)
        if edition_id not in self._told.get(host_id, ()):
            log.warning("key_refused", host=host_id, edition=asked.edition_id)
            self._refuse(host_id, asked.task_id, "its key is for hosts that were told of it")
        elif entry is None or entry.data_key is None:
            self._refuse(host_id, asked.task_id, "it is in the cache no more; join again")
        else:
            secret = entry.data_key.secret
            seed = secrets.token_bytes(32)
            sealed = answer_key(secret, edition_id, asked.public_key, seed=seed)
            told = wire.KeyTold(
                task_id=asked.task_id, edition_id=asked.edition_id, sealed_key=sealed
            )
            self._post(host_id, told)
            log.info("key_told", host=host_id, edition=edition_id)

    def _refuse(self, host_id: HostId, task_id: str, reason: str) -> None:
        error = TaskRejectedError(reason=reason)
        failed = wire.Failed(task_id=task_id, error=type(error).__name__, message=str(error))
        self._post(host_id, failed)
