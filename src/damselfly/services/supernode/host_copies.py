"""What hosts have whole and the SuperNode no longer: a preheat takes it from there.

The source is only asked whether it gives the content to whom the preheat is for; its bytes stay
where they are. That goes for contents with a digest, since no host is believed: nothing of it
is told to anybody before the whole was hashed. When somebody begins to wait for it meanwhile, it is
read from the source after all, block by block for everybody.
"""

from collections.abc import Callable, Sequence

from damselfly.core.peer import Host
from damselfly.core.task import Edition, EditionId, TaskSpec
from damselfly.errors import DamselflyError
from damselfly.services.options import SuperNodeOptions
from damselfly.services.seeding.naming import edition_by_digest
from damselfly.services.seeding.seeding import Seeding
from damselfly.services.supernode.host_imports import HostImports
from damselfly.storage.store import BlockStore
from damselfly.telemetry.log import get_log

log = get_log()


class HostCopies:
    """Takes contents over that hosts have, for preheats."""

    def __init__(
        self,
        options: SuperNodeOptions,
        store: BlockStore,
        seeding: Seeding,
        imports: HostImports,
        *,
        holders_of: Callable[[EditionId], Sequence[Host]],
    ) -> None:
        self._options = options
        self._store = store
        self._seeding = seeding
        self._imports = imports
        self._holders_of = holders_of

    async def take(self, spec: TaskSpec, *, size_bytes: int) -> None:
        """Have a content here that a host has; else nothing has changed.

        Args:
            spec: What is wanted.
            size_bytes: How long it is, -1 if nobody knows.
        """
        edition = self._edition(spec, size_bytes)
        if edition is None:
            return
        holders = self._holders_of(edition.edition_id)
        pace = self._seeding.asking.pacers.get(spec.task_id)
        if not holders or pace is None:
            return
        try:
            await self._seeding.authorise(spec)
            entry = await self._imports.copy(holders[0], edition, pace)
        except DamselflyError as exc:
            log.info("copy_failed", host=holders[0].host_id, task=spec.task_id, reason=str(exc))
            return
        try:
            await self._seeding.confirm(spec, entry)
        finally:
            entry.unpin()

    def _edition(self, spec: TaskSpec, size_bytes: int) -> Edition | None:
        """Return the edition that hosts may have; None: there is no telling, or it is here."""
        is_secret = spec.is_encrypted or any(
            rule.matches(spec.url) for rule in self._options.encrypt
        )
        is_here = bool(self._store.editions_of(spec.task_id))
        if spec.digest is None or size_bytes <= 0 or is_secret or is_here:
            return None
        rate = self._options.assumed_link_rate_bytes_per_s
        return edition_by_digest(spec, spec.digest, size_bytes, link_rate_bytes_per_s=rate)
