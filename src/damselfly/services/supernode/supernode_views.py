"""What operators see of a SuperNode."""

from typing import Any

from damselfly.core.scheduling.scheduler import Scheduler
from damselfly.core.task import EditionId
from damselfly.services.peering.edition_views import edition_seen
from damselfly.storage.store import BlockStore


class Views:
    """The API's tables."""

    def __init__(self, store: BlockStore, scheduler: Scheduler) -> None:
        self._store = store
        self._scheduler = scheduler

    def tasks(self) -> list[dict[str, Any]]:
        """Return what `GET /api/v1/tasks` shows."""
        return [
            {**edition_seen(entry), "peers": self._peers(entry.edition.edition_id)}
            for entry in self._store.entries()
        ]

    def _peers(self, edition_id: EditionId) -> list[dict[str, Any]]:
        swarm = self._scheduler.swarms.get(edition_id)
        return [
            {
                "host_id": peer.host.host_id,
                "held_count": peer.held_count,
                "is_whole": peer.is_whole,
                "neighbours": len(peer.neighbours),
            }
            for peer in (swarm.peers.values() if swarm else ())
        ]

    def hosts(self) -> list[dict[str, Any]]:
        """Return what `GET /api/v1/hosts` shows."""
        return [
            {
                "host_id": host.host_id,
                "address": host.address,
                "location": str(host.location),
                "upload_slots": host.upload_slots,
                "is_ephemeral": host.is_ephemeral,
                "labels": list(host.labels),
            }
            for host in self._scheduler.hosts.values()
        ]

    def health(self) -> dict[str, Any]:
        """Return what `GET /healthy` shows."""
        return {
            "role": "supernode",
            "hosts": len(self._scheduler.hosts),
            "swarms": len(self._scheduler.swarms),
        }
