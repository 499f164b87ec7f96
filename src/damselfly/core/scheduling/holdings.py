"""Which hosts have which editions whole: they give them, though they want nothing."""

from collections import Counter
from collections.abc import Iterable

from damselfly.core.peer import HostId
from damselfly.core.task import EditionId

HOLDINGS_MAX = 10_000  # per host, as many as a hello tells


class Holdings:
    """Hosts and what they have whole, as they told."""

    def __init__(self) -> None:
        # {host: editions it has whole}, the keys of a dictionary, the oldest first.
        self._of_host: dict[HostId, dict[EditionId, None]] = {}
        # {edition: how many hosts have it}; invariant: counts what stands above.
        self._counts: Counter[EditionId] = Counter()

    def begin(self, host_id: HostId, editions: Iterable[EditionId]) -> None:
        """A host came, with these."""
        self.end(host_id)
        self._of_host[host_id] = {}
        for edition_id in editions:
            self.add(host_id, edition_id)

    def end(self, host_id: HostId) -> None:
        """A host went."""
        for edition_id in self._of_host.pop(host_id, {}):
            self._uncount(edition_id)

    def add(self, host_id: HostId, edition_id: EditionId) -> None:
        """A host has an edition now; of too many the one it has had for longest is forgotten."""
        editions = self._of_host[host_id]
        if edition_id in editions:
            del editions[edition_id]
        else:
            self._counts[edition_id] += 1
        editions[edition_id] = None
        if len(editions) > HOLDINGS_MAX:
            self.remove(host_id, next(iter(editions)))

    def remove(self, host_id: HostId, edition_id: EditionId) -> None:
        """A host has an edition no longer."""
        editions = self._of_host.get(host_id, {})
        if edition_id in editions:
            del editions[edition_id]
            self._uncount(edition_id)

    def _uncount(self, edition_id: EditionId) -> None:
        self._counts[edition_id] -= 1
        if not self._counts[edition_id]:
            del self._counts[edition_id]

    def hosts_with(self, edition_id: EditionId) -> list[HostId]:
        """Return the hosts that have an edition, in the order in which they came."""
        if edition_id not in self._counts:
            return []
        return [host for host, editions in self._of_host.items() if edition_id in editions]

    def is_held(self, edition_id: EditionId, *, but_by: HostId | None = None) -> bool:
        """Say whether a host has an edition, besides one of them."""
        own = but_by is not None and edition_id in self._of_host.get(but_by, {})
        return self._counts[edition_id] > int(own)

    def check(self) -> None:
        """Assert the invariant."""
        assert self._counts == Counter(
            edition_id for editions in self._of_host.values() for edition_id in editions
        )
