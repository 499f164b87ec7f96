"""The peers to compare with: a torrent, a tracker, a libtorrent peer, aria2's arguments.

As a program: `bittorrent.py tracker PORT` and `bittorrent.py peer TORRENT FOLDER ADDRESS`.
"""

import hashlib
import http.server
import socket
import socketserver
import struct
import sys
import time
import urllib.parse
from pathlib import Path
from typing import Any, ClassVar

PORT = 6881


def bencode(value: Any) -> bytes:  # noqa: ANN401  # what BitTorrent can write
    """Return a value as BitTorrent writes it."""
    match value:
        case int():
            return b"i%de" % value
        case str():
            return bencode(value.encode())
        case bytes():
            return b"%d:%s" % (len(value), value)
        case list():
            return b"l" + b"".join(map(bencode, value)) + b"e"
        case _:
            pairs = (bencode(key) + bencode(value[key]) for key in sorted(value))
            return b"d" + b"".join(pairs) + b"e"


def write_torrent(content: Path, torrent: Path, *, piece_bytes: int, tracker: str) -> None:
    """Write the torrent of a file."""
    pieces = bytearray()
    with content.open("rb") as file:
        while piece := file.read(piece_bytes):
            pieces += hashlib.sha1(piece).digest()
    info = {
        "length": content.stat().st_size,
        "name": content.name,
        "piece length": piece_bytes,
        "pieces": bytes(pieces),
    }
    torrent.write_bytes(bencode({"announce": tracker, "info": info}))


class Tracker(http.server.BaseHTTPRequestHandler):
    """Answers each announce with all other peers, and wants to be asked again after 2 s."""

    swarms: ClassVar[dict[str | None, dict[tuple[str, int], bool]]] = {}

    def do_GET(self) -> None:  # the name http.server wants
        """Answer an announce."""
        query = dict(
            urllib.parse.parse_qsl(urllib.parse.urlparse(self.path).query, encoding="latin-1")
        )
        swarm = self.swarms.setdefault(query.get("info_hash"), {})
        me = self.client_address[0], int(query.get("port", 0))
        others = [peer for peer in swarm if peer != me]
        if query.get("event") == "stopped":
            swarm.pop(me, None)
        elif me not in swarm:
            swarm[me] = True
            print("peer", *me, flush=True)
        peers = b"".join(socket.inet_aton(ip) + struct.pack("!H", port) for ip, port in others)
        body = bencode(
            {
                "interval": 2,
                "min interval": 1,
                "complete": 1,
                "incomplete": len(swarm),
                "peers": peers,
            }
        )
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


def run_tracker(port: int) -> None:
    """Serve announces for ever."""

    class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
        daemon_threads = True
        request_queue_size = 128

    server = Server(("0.0.0.0", port), Tracker)
    print("ready", flush=True)
    server.serve_forever()


def run_peer(torrent: str, folder: str, address: str) -> None:
    """Be a libtorrent peer; writes `done` into its folder when it has everything."""
    import libtorrent  # noqa: PLC0415  # only for this comparison

    session = libtorrent.session(
        {
            "listen_interfaces": f"{address}:{PORT}",
            "outgoing_interfaces": address,
            "enable_dht": False,
            "enable_lsd": False,
            "enable_upnp": False,
            "enable_natpmp": False,
            "enable_outgoing_utp": False,
            "enable_incoming_utp": False,
            "allow_multiple_connections_per_ip": True,
            "ssrf_mitigation": False,
            "min_announce_interval": 1,
            "connection_speed": 200,
        }
    )
    wanted = libtorrent.load_torrent_file(torrent)
    wanted.save_path = folder
    handle = session.add_torrent(wanted)
    while not handle.status().is_seeding:
        time.sleep(0.02)
    (Path(folder) / "done").touch()
    while True:
        time.sleep(60)


def aria2_command(torrent: Path, folder: Path, *, is_seed: bool) -> list[str]:
    """Return aria2 as a peer that seeds on; it touches `done` in its folder."""
    hook = folder / "done.sh"
    hook.write_text(f"#!/bin/sh\ntouch {folder}/done\n")
    hook.chmod(0o755)
    return [
        *("aria2c", "--no-conf", "--enable-dht=false", "--enable-dht6=false"),
        *("--bt-enable-lpd=false", "--disable-ipv6", f"--listen-port={PORT}"),
        *("--seed-ratio=0.0", "--bt-tracker-interval=2", "--file-allocation=none"),
        f"--check-integrity={str(is_seed).lower()}",
        *("--summary-interval=0", "--console-log-level=warn", "--bt-max-peers=64"),
        *("--bt-request-peer-speed-limit=100M", f"--on-bt-download-complete={hook}"),
        *(f"--dir={folder}", str(torrent)),
    ]


if __name__ == "__main__":
    if sys.argv[1] == "tracker":
        run_tracker(int(sys.argv[2]))
    else:
        run_peer(*sys.argv[2:5])
