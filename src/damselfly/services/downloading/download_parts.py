"""What all downloads of a host share."""

import random
from dataclasses import dataclass, field, replace

from damselfly.clock import now_s
from damselfly.core.downloading.download import Download
from damselfly.core.proxying.encrypting import EncryptRule
from damselfly.core.task import TaskSpec
from damselfly.services.encrypting.cipher_plugins import Ciphers
from damselfly.services.peering.links import Links
from damselfly.services.peering.uploads import Uploads
from damselfly.services.seeding.authorising import Authorising
from damselfly.services.seeding.pacing import Pacing
from damselfly.services.seeding.seeding import Seeding
from damselfly.services.seeding.storing_pace import StoringPace
from damselfly.storage.store import BlockStore
from damselfly.telemetry.metrics import Metrics
from damselfly.transport.block_connection import BlockConnections
from damselfly.transport.frames import Frames
from damselfly.transport.session_client import SessionClient
from damselfly.transport.throttle import Throttle
from damselfly.wire.local_messages import DownloadRequest
from damselfly.wire.packing import Codecs


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadParts:
    """The parts; see the classes for what each is.

    Attributes:
        authorising: Asks sources about requesters.
        session: None on a host without SuperNode.
        slots: Downloads at a time, as many as uploads.
        throttle: Over all downloads.
        frames: In which all of them receive.
        ciphers: With which encrypted editions are read.
        encrypt: Contents that are wanted as encrypted ones alone.
        codecs: With which compressed blocks are read.
        pacing: Of what nobody here waits for.
        storing: Where blocks are stored, in the event loop or beside it.
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
    frames: Frames
    pacing: Pacing
    metrics: Metrics
    rng: random.Random
    ciphers: Ciphers
    encrypt: tuple[EncryptRule, ...] = ()
    codecs: Codecs = field(default_factory=dict)
    storing: StoringPace = field(default_factory=StoringPace)

    def spec_of(self, request: DownloadRequest) -> TaskSpec:
        """Return the task that a request asks for, on this host.

        Raises:
            TaskSpecError: The URL, digest or a header is none.
        """
        spec = request.spec()
        if any(rule.matches(spec.url) for rule in self.encrypt):
            return replace(spec, is_encrypted=True)
        return spec


def new_mind(parts: DownloadParts, *, is_permitted: bool) -> Download:
    """Return what decides for a download; permitted is going to the source."""
    return Download(
        slots=parts.slots,
        can_use_source=is_permitted,
        is_placed=bool(parts.links.location),
        host_id=parts.links.host_id,
        rng=parts.rng,
        now_s=now_s(),
    )
