"""Who may go to the source itself, and who is banned: two small budgets."""

from dataclasses import dataclass, field

from damselfly.core.peer import HostId

FALLBACK_S = 60.0  # a grant that was not given back ends by itself: its host may be gone
RETRY_AFTER_S = 2.0
CORRUPT_BLOCKS_MAX = 2  # the third one bans
BAN_S = 3600.0  # long enough for a person to look at the disk, short enough to forget it


@dataclass(slots=True)
class SourceBudget:
    """How many hosts go to the source of one task themselves.

    Attributes:
        fallbacks_max: At most so many at a time.
        granted: {host: when its grant ends, in seconds of the scheduler's clock}.
    """

    fallbacks_max: int
    granted: dict[HostId, float] = field(default_factory=dict)

    def ask(self, host_id: HostId, *, now_s: float) -> bool:
        """Say whether the host may go to the source now; a yes is good for `FALLBACK_S`."""
        self.granted = {host: until for host, until in self.granted.items() if until > now_s}
        if host_id not in self.granted and len(self.granted) >= self.fallbacks_max:
            return False
        self.granted[host_id] = now_s + FALLBACK_S
        return True

    def give_back(self, host_id: HostId) -> None:
        """Take back a grant that is no longer needed."""
        self.granted.pop(host_id, None)


class Blame:
    """Counts of corrupt blocks by host, and who is banned because of them."""

    def __init__(self) -> None:
        # {accused: {(accuser, block index)}}: telling the same twice counts once.
        self._corrupt: dict[HostId, set[tuple[HostId, int]]] = {}
        self._banned_until_s: dict[HostId, float] = {}

    def accuse(self, accused: HostId, *, accuser: HostId, block_index: int, now_s: float) -> bool:
        """Count a corrupt block; say whether the accused is banned by this one."""
        told = self._corrupt.setdefault(accused, set())
        told.add((accuser, block_index))
        if len(told) <= CORRUPT_BLOCKS_MAX or self.is_banned(accused, now_s=now_s):
            return False
        del self._corrupt[accused]
        self._banned_until_s[accused] = now_s + BAN_S
        return True

    def is_banned(self, host_id: HostId, *, now_s: float) -> bool:
        """Say whether nothing may be taken from the host."""
        return self._banned_until_s.get(host_id, 0.0) > now_s
