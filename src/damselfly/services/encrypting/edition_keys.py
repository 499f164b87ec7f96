"""The data keys of editions: drawn for new ones, wrapped to be kept, unwrapped to be used.

A data key is in memory as long as its edition is in the cache. At rest it lies beside the
edition, wrapped by the key provider; whoever takes the disk has nothing.
"""

import asyncio
import secrets
from collections.abc import Sequence
from dataclasses import replace

from damselfly.core.proxying.encrypting import EncryptRule
from damselfly.core.task import Edition, EditionId, TaskSpec
from damselfly.errors import DamselflyError, KeyUnavailableError
from damselfly.services.encrypting.cipher_plugins import USUAL_NAME, Ciphers
from damselfly.services.encrypting.key_providers import KeyProvider, WrappedKey
from damselfly.storage.store import StoredEdition
from damselfly.telemetry.log import get_log
from damselfly.wire.ciphers.data_keys import DataKey, key_id_of

log = get_log()


class EditionKeys:
    """Makes and keeps data keys.

    Args:
        ciphers: The ciphers of this process.
        provider: Wraps them; None: nothing new can be encrypted here.
        why_none: Then, why not.
        cipher: Name of the cipher of new ones.
        rules: Which contents are encrypted, besides those for which it was asked.
    """

    def __init__(
        self,
        ciphers: Ciphers,
        provider: KeyProvider | None,
        *,
        why_none: str = "",
        cipher: str = USUAL_NAME,
        rules: Sequence[EncryptRule] = (),
    ) -> None:
        self._ciphers = ciphers
        self._provider = provider
        self._why_none = why_none
        self._cipher = cipher
        self._rules = rules

    def are_wanted(self, spec: TaskSpec, entries: Sequence[StoredEdition]) -> bool:
        """Say whether a content is to be encrypted, of which these are in the cache.

        What once was encrypted is not kept in plain by a host that cannot ask why it was.
        """
        is_rule = any(rule.matches(spec.url) for rule in self._rules)
        return spec.is_encrypted or is_rule or any(entry.edition.cipher for entry in entries)

    def new(self) -> DataKey:
        """Return a key for a new edition.

        Raises:
            KeyUnavailableError: There is no key provider.
            PluginError: The cipher cannot be used.
        """
        self._get_provider()
        cipher = self._ciphers.by_name(self._cipher)
        secret = secrets.token_bytes(cipher.key_bytes)
        return DataKey.of(cipher, secret, draw=secrets.token_bytes)

    async def keep(self, key: DataKey, edition: Edition) -> Edition:
        """Return an edition with its key as it may lie at rest.

        Raises:
            KeyUnavailableError: The provider has no key, or cannot be asked.
            PluginError: The provider failed.
        """
        context = _context(edition.edition_id)
        wrapped = await asyncio.to_thread(self._get_provider().wrap, key.secret, context=context)
        return replace(edition, key_name=wrapped.key_name, wrapped_key=wrapped.wrapped)

    async def unwrap(self, edition: Edition) -> DataKey:
        """Return the key of an edition that lies in the cache.

        Raises:
            KeyUnavailableError: The provider does not have it any more, or cannot be asked.
            PluginError: The provider failed, or the cipher is not known any more.
        """
        provider = self._get_provider()
        cipher = self._ciphers.by_id(edition.cipher)
        wrapped = WrappedKey(edition.key_name, edition.wrapped_key)
        context = _context(edition.edition_id)
        secret = await asyncio.to_thread(provider.unwrap, wrapped, context=context)
        if key_id_of(secret) != edition.key_id:
            reason = f"what it unwraps is not the data key of edition {edition.edition_id}"
            raise KeyUnavailableError(key=f"key {edition.key_name}", reason=reason)
        return DataKey.of(cipher, secret, draw=secrets.token_bytes)

    async def usable(self, spec: TaskSpec, entries: Sequence[StoredEdition]) -> list[StoredEdition]:
        """Return the entries from which a request may be answered, their keys being here."""
        are_wanted = self.are_wanted(spec, entries)
        return [
            entry
            for entry in entries
            if (entry.edition.cipher or not are_wanted) and await self._unlocks(entry)
        ]

    async def unlock(self, entry: StoredEdition) -> None:
        """See to it that an entry can be read; does nothing when it can.

        Raises:
            KeyUnavailableError: The provider does not have its key any more, or cannot be asked.
            PluginError: The provider failed, or the cipher is not known any more.
        """
        if entry.is_locked:
            entry.unlock(await self.unwrap(entry.edition))

    async def _unlocks(self, entry: StoredEdition) -> bool:
        try:
            await self.unlock(entry)
        except DamselflyError as exc:  # it is a cache: what cannot be read is read anew
            edition_id = entry.edition.edition_id
            log.warning("edition_stays_locked", edition=edition_id, reason=str(exc))
            return False
        return True

    def _get_provider(self) -> KeyProvider:
        if self._provider is None:
            raise KeyUnavailableError(key="a key to encrypt with", reason=self._why_none)
        return self._provider


def _context(edition_id: EditionId) -> bytes:
    return b"damselfly data key of edition " + edition_id.encode()
