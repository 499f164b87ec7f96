"""A flood of push events for `preheat.py`: sent on time, whatever the answers take."""

import asyncio
import hashlib
import json
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import aiohttp

CONNECTIONS = 64  # a registry has one; a fleet of them is simulated
BLOB_BYTES = 200


@dataclass
class Sent:
    """What became of the events.

    Attributes:
        answers_s: From when each was due to its answer.
    """

    accepted: int = 0
    seconds: float = 0.0
    answers_s: list[float] = field(default_factory=list)

    def quantile(self, share: float) -> float:
        """Return what that share of the answers took at most."""
        return sorted(self.answers_s)[int(share * (len(self.answers_s) - 1))]


def some_blobs(folder: Path, count: int) -> list[str]:
    """Write blobs as a registry's paths have them; return their digests."""
    place = folder / "v2" / "bench" / "blobs"
    place.mkdir(parents=True)
    digests = []
    for number in range(count):
        data = f"{number:0{BLOB_BYTES}}".encode()
        digests.append(f"sha256:{hashlib.sha256(data).hexdigest()}")
        (place / digests[-1]).write_bytes(data)
    return digests


def send_events(
    supernode: str, registry: str, digests: list[str], *, rate: int, secret: str
) -> Sent:
    """Tell of one blob after the other, so many a second."""
    return asyncio.run(_send_all(supernode, registry, digests, rate, secret))


async def _send_all(
    supernode: str, registry: str, digests: list[str], rate: int, secret: str
) -> Sent:
    sent, url = Sent(), f"http://{supernode}/webhooks/distribution"
    shown = {"Authorization": f"Bearer {secret}"}
    connector = aiohttp.TCPConnector(limit=CONNECTIONS)
    begun_s = time.perf_counter()
    async with aiohttp.ClientSession(connector=connector) as client, asyncio.TaskGroup() as tasks:

        async def send(number: int, digest: str) -> None:
            due_s = begun_s + number / rate
            event = {
                "id": f"event-{number}",
                "timestamp": datetime.now(UTC).isoformat(),
                "action": "push",
                "target": {
                    "mediaType": "application/octet-stream",
                    "digest": digest,
                    "url": f"{registry}/v2/bench/blobs/{digest}",
                },
            }
            body = json.dumps({"events": [event]}).encode()
            async with client.post(url, data=body, headers=shown) as answer:
                told = await answer.json()
                sent.accepted += answer.status == 200 and told["accepted"]
            sent.answers_s.append(time.perf_counter() - due_s)

        for number, digest in enumerate(digests):
            pause_s = begun_s + number / rate - time.perf_counter()
            if pause_s > 0:
                await asyncio.sleep(pause_s)
            tasks.create_task(send(number, digest))
    sent.seconds = time.perf_counter() - begun_s
    return sent
