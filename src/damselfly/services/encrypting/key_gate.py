"""Messages of one task in their order, those of an encrypted edition once its key is here.

Without its data key nothing of an encrypted edition can be read or checked. So what comes
about it waits while the host asks for the key, and the download hears of the edition, and of
all that was told of it since, when it can work with that.
"""

import secrets
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from damselfly.core.task import EditionId
from damselfly.errors import RemoteProtocolError
from damselfly.services.encrypting.cipher_plugins import Ciphers
from damselfly.wire import session_messages as wire
from damselfly.wire.ciphers.data_keys import DataKey

if TYPE_CHECKING:
    from damselfly.wire.ciphers.key_exchange import KeyQuestion


class KeyGate:
    """What one download is told passes here.

    Args:
        ciphers: The ciphers of this process.
        has_key: Whether the data key of an edition is here already.
        post: Sends a message to the SuperNode.

    Attributes:
        key: That of the encrypted edition that passed last; in memory alone.
    """

    def __init__(
        self,
        ciphers: Ciphers,
        *,
        has_key: Callable[[EditionId], bool],
        post: Callable[[wire.HostMessage], None],
    ) -> None:
        self._ciphers = ciphers
        self._has_key = has_key
        self._post = post
        # What waits for a key, the edition first; empty when none is awaited.
        self._waiting: list[wire.SuperNodeMessage] = []
        self._question: KeyQuestion | None = None
        self.key: DataKey | None = None

    def admit(self, message: wire.SuperNodeMessage) -> Sequence[wire.SuperNodeMessage]:
        """Take in a message, and return those that the download is to look at now.

        Raises:
            RemoteProtocolError: A key is not the one of the edition.
            PluginError: The edition's cipher is not known here.
        """
        match message:
            case wire.EditionTold():
                self._waiting.clear()  # of a session that is over
                if message.cipher and not self._has_key(EditionId(message.edition_id)):
                    self._ask(message)
                    return ()
            case wire.KeyTold():
                return self._open(message)
            case wire.BlocksListed() | wire.Sealed() | wire.ParentsOffered() if self._waiting:
                self._waiting.append(message)
                return ()
            case _:
                pass
        return (message,)

    def _ask(self, told: wire.EditionTold) -> None:
        # 30 ms that who reads nothing encrypted need not pay
        from damselfly.wire.ciphers.key_exchange import KeyQuestion  # noqa: PLC0415

        self._ciphers.by_id(told.cipher)
        self._question = KeyQuestion(secrets.token_bytes(32))
        self._waiting.append(told)
        self._post(
            wire.KeyAsked(
                task_id=told.task_id,
                edition_id=told.edition_id,
                public_key=self._question.public_key,
            )
        )

    def _open(self, told: wire.KeyTold) -> Sequence[wire.SuperNodeMessage]:
        edition = self._waiting[0] if self._waiting else None
        if not isinstance(edition, wire.EditionTold) or edition.edition_id != told.edition_id:
            return ()  # the answer to a question that is not asked any more
        assert self._question is not None
        secret = self._question.open(told.sealed_key, EditionId(told.edition_id))
        key = DataKey.of(self._ciphers.by_id(edition.cipher), secret, draw=secrets.token_bytes)
        if key.key_id != edition.key_id:
            raise RemoteProtocolError(
                f"the SuperNode told another key than {edition.key_id:08x} of this edition"
            )
        self.key = key
        released, self._waiting = self._waiting, []
        return released
