"""How a daemon's status is told in words and numbers; the picture of it uses the same."""

import re
from collections import deque
from typing import Final

from damselfly.faces.cli.progress import NOTHING, providers_text, size_text
from damselfly.wire.local_messages import ProviderBytes
from damselfly.wire.status_messages import DownloadSeen, HostStatus

WINDOW_S: Final = 3.0  # shorter ones jump with every block, longer ones lag behind
_BLOB: Final = re.compile(r"v2/(?P<name>.+)/(?:blobs|manifests)/(?P<reference>[^/]+)")
_BOTH_ENDS_CHARS: Final = 24  # a host cut to fewer than 8 tells nothing
_REFERENCE_CHARS: Final = 19  # `sha256:` and the twelve digits that tools show


class Rates:
    """Bytes per second, from statuses that were asked for one after the other."""

    def __init__(self) -> None:
        # (when, status): the first one is just older than the window.
        self._seen: deque[tuple[float, HostStatus]] = deque()

    def add(self, status: HostStatus, *, now_s: float) -> None:
        """Take in a status."""
        if self._seen and self._seen[-1][1].pid != status.pid:
            self._seen.clear()  # another process counts from nothing
        while len(self._seen) > 1 and now_s - self._seen[1][0] >= WINDOW_S:
            self._seen.popleft()
        self._seen.append((now_s, status))

    @property
    def received(self) -> float:
        """What the host takes."""
        return self._rate(*(status.received_bytes_by.total for _, status in self._ends()))

    @property
    def sent(self) -> float:
        """What the host gives."""
        return self._rate(*(status.sent_bytes for _, status in self._ends()))

    def of(self, task_id: str) -> float:
        """What a download takes; what the cache had counts as nothing."""
        return self._rate(
            *(
                sum(
                    seen.bytes_by.total - seen.bytes_by.cache
                    for seen in status.downloads
                    if seen.task_id == task_id
                )
                for _, status in self._ends()
            )
        )

    def _ends(self) -> tuple[tuple[float, HostStatus], tuple[float, HostStatus]]:
        return self._seen[0], self._seen[-1]

    def _rate(self, before: int, now: int) -> float:
        (since_s, _), (now_s, _) = self._ends()
        return max(now - before, 0) / (now_s - since_s) if now_s > since_s else 0.0


def name_text(url: str) -> str:
    """Return a source as people call it: an image and a digest, else the URL without scheme."""
    host, _, path = url.partition("://")[2].partition("/")
    match = _BLOB.fullmatch(path)
    if match is None:
        return f"{host}/{path}"
    return f"{host}/{match['name']} {match['reference'][:_REFERENCE_CHARS]}"


def cropped(text: str, chars_max: int) -> str:
    """Return a name that is not too long, without its middle: both ends tell something.

    Where there is not even room for that, the last word of a path, or of an image's blob.
    """
    if len(text) <= chars_max:
        return text
    text = text.replace("sha256:", "")
    if chars_max < _BOTH_ENDS_CHARS:
        text = re.split(r"[/ ]", text.rstrip("/"))[-1]
    if len(text) <= chars_max:
        return text
    end = chars_max * 2 // 3
    return f"{text[: chars_max - end - 1]}…{text[len(text) - end :]}"


def done_text(seen: DownloadSeen) -> str:
    """Return how much of a download is here."""
    done = size_text(seen.bytes_by.total)
    if seen.size_bytes < 0:
        return done
    size = size_text(seen.size_bytes)
    number, _, unit = done.partition(" ")
    return f"{number if size.endswith(f' {unit}') else done} of {size}"


def share_text(seen: DownloadSeen) -> str:
    """Return the same in per cent, in bytes while nobody knows the length."""
    if seen.size_bytes < 0:
        return size_text(seen.bytes_by.total)
    return f"{100 * seen.bytes_by.total // max(seen.size_bytes, 1)} %"


def how_texts(seen: DownloadSeen) -> tuple[str, str]:
    """Return how much came in which time; and so how fast."""
    size, rate = size_text(seen.bytes_by.total), size_text(_mean_rate(seen))
    return f"{size} in {seconds_text(seen.seconds)}", f", {rate}/s"


def shares_text(by: ProviderBytes) -> str:
    """Return where bytes came from in per cent, the largest first."""
    named = {"peers": by.peers, "SuperNode": by.supernode, "source": by.source, "cache": by.cache}
    parts = sorted(((count, name) for name, count in named.items() if count), reverse=True)
    total = max(by.total, 1)
    return ", ".join(f"{name} {100 * count / total:.0f} %" for count, name in parts)


def seconds_text(seconds: float) -> str:
    """Return a duration as people say it."""
    if seconds < 60:  # noqa: PLR2004
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 48:  # noqa: PLR2004
        return f"{hours // 24} days"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def supernode_text(status: HostStatus) -> str:
    """Return how the host stands with its SuperNode."""
    if not status.supernode:
        return "no SuperNode"
    return f"SuperNode {status.supernode} {'' if status.is_connected else 'not '}connected"


def cache_texts(status: HostStatus) -> tuple[str, str, str, str]:
    """Return how full the cache is; of how many editions; what is free; what it gave."""
    cache = status.cache
    of = f" of {size_text(cache.quota_bytes)}" if cache.quota_bytes else ""
    return (
        f"cache {size_text(cache.used_bytes)}{of}",
        f" in {cache.edition_count} editions",
        f", {size_text(cache.disk_free_bytes)} free",
        f"; gave {size_text(cache.hit_bytes)}" if cache.hit_bytes else "",
    )


def nothing_text(status: HostStatus) -> str:
    """Return why there is no download to tell of."""
    if status.cache.hit_bytes:
        return "no downloads: all that was asked for was in the cache"
    return "no downloads yet"


def uploads_texts(status: HostStatus) -> tuple[str, str]:
    """Return how many uploads there are; and of how many at a time."""
    running = f"{status.uploads_running} upload{'' if status.uploads_running == 1 else 's'}"
    return running, f" in {status.upload_slots} slots"


def lines(status: HostStatus, rates: Rates) -> list[str]:
    """Return a status as plain lines."""
    place = f", {status.location}" if status.location else ""
    received = status.received_bytes_by
    told = [
        f"daemon {status.host_id} on {status.address}{place}, up {seconds_text(status.seconds)}",
        supernode_text(status),
        f"received {size_text(received.total)}: {providers_text(received) or NOTHING}",
        f"sent {size_text(status.sent_bytes)}, {''.join(uploads_texts(status))}",
        "".join(cache_texts(status)),
    ]
    if status.saved_bytes:
        told.append(saved_text(status))
    for seen in status.downloads:
        rate = rates.of(seen.task_id) or _mean_rate(seen)
        peers = f"{seen.parent_count} peer{'' if seen.parent_count == 1 else 's'}"
        told.append(
            f"{seen.state} {name_text(seen.url)}: {done_text(seen)}, {size_text(rate)}/s, "
            f"{peers}; {shares_text(seen.bytes_by) or NOTHING}"
        )
    told += [ended_text(seen) for seen in status.ended_downloads]
    if not status.downloads and not status.ended_downloads:
        told.append(nothing_text(status))
    return told


def saved_text(status: HostStatus) -> str:
    """Return what compression spared the wire, and what it cost."""
    return f"compression saved {size_text(status.saved_bytes)} for {status.codec_cpu_s:.1f} CPU s"


def ended_text(seen: DownloadSeen) -> str:
    """Return how a download ended."""
    text = f"{seen.state} {name_text(seen.url)}: "
    if seen.error:
        return text + seen.error
    return f"{text}{''.join(how_texts(seen))}; {shares_text(seen.bytes_by) or 'nothing'}"


def _mean_rate(seen: DownloadSeen) -> float:
    return (seen.bytes_by.total - seen.bytes_by.cache) / max(seen.seconds, 0.001)
