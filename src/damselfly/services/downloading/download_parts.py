"""What all downloads of a host share."""

import random
from dataclasses import dataclass

from damselfly.services.peering.links import Links
from damselfly.services.peering.uploads import Uploads
from damselfly.services.seeding.authorising import Authorising
from damselfly.services.seeding.seeding import Seeding
from damselfly.storage.store import BlockStore
from damselfly.telemetry.metrics import Metrics
from damselfly.transport.block_connection import BlockConnections
from damselfly.transport.session_client import SessionClient
from damselfly.transport.throttle import Throttle


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadParts:
    """The parts; see the classes for what each is.

    Attributes:
        authorising: Asks sources about requesters.
        session: None on a host without SuperNode.
        slots: Downloads at a time, as many as uploads.
        throttle: Over all downloads.
    """

    store: BlockStore
    links: Links
    connections: BlockConnections
    seeding: Seeding
    authorising: Authorising
    session: SessionClient | None
    uploads: Uploads
    slots: int
    throttle: Throttle
    metrics: Metrics
    rng: random.Random
