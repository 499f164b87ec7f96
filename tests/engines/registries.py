"""Real registries on loopback: Debian's docker-registry, open and private, with TLS, redirecting.

All of them give what lies in one folder, so what is pushed to the open one can be pulled from
each, under its rules.
"""

import base64
import contextlib
import json
import re
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple, Protocol, TypeVar
from urllib.parse import parse_qs, urlsplit

import jwt
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from engines.programs import Program, accepts, free_port


class SomeRegistry(Protocol):
    """What an engine must know of a registry."""

    @property
    def host(self) -> str: ...
    @property
    def url(self) -> str: ...
    @property
    def ca_file(self) -> Path | None: ...


class Stoppable(Protocol):
    def stop(self) -> None: ...


S = TypeVar("S", bound=Stoppable)

# alice may read everything; bob is known, and may read public/ only.
PASSWORDS = {"alice": "secret", "bob": "hidden"}
ALICE, BOB, STRANGER = "alice:secret", "bob:hidden", "alice:wrong"
HTPASSWD = (
    "alice:$2b$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n"
    "bob:$2b$05$abcdefghijklmnopqrstuu4BcS2/37KDukaKm7SMr8Dt17UhqpC0G\n"
)
PUBLIC = "public/"
NOWHERE = "127.0.0.1:1"  # nobody listens there
SERVICE, ISSUER = "registry of the tests", "issuer of the tests"
SIGNATURE = "c2lnbmVk"

_LISTENING = re.compile(r"listening on [\d.]+:(\d+)")
_ACCESS = re.compile(r'"([A-Z]+) (\S+) HTTP/[\d.]+" (\d{3}) (\d+) "[^"]*" "([^"]*)"')


class Request(NamedTuple):
    """One request that a registry answered."""

    method: str
    path: str
    status: int
    sent_bytes: int
    agent: str


class Requests(list[Request]):
    """Requests, to be asked questions."""

    def of(self, method: str, part: str, status: int = 0) -> "Requests":
        """Return those of a method whose path holds a part, with that status if one is given."""
        return Requests(
            each
            for each in self
            if each.method == method and part in each.path and status in {0, each.status}
        )

    @property
    def sent_bytes(self) -> int:
        return sum(each.sent_bytes for each in self)


class Registry:
    """docker-registry over a folder of blobs.

    With `within` it is started by that command, such as one that puts it into a namespace.
    """

    def __init__(
        self,
        folder: Path,
        storage: Path,
        *,
        listen: str = "127.0.0.1:0",
        within: Sequence[str] = (),
        ca_file: Path | None = None,
        **http_and_auth: Mapping[str, Any],
    ) -> None:
        self.ca_file = ca_file
        http = {"addr": listen, "secret": "any", **http_and_auth.pop("http", {})}
        config = {
            "version": "0.1",
            "log": {"level": "info"},
            "storage": {
                "filesystem": {"rootdirectory": str(storage)},
                "delete": {"enabled": True},
                "maintenance": {"uploadpurging": {"enabled": False}},
            },
            "http": http,
            **http_and_auth,
        }
        folder.mkdir(parents=True)
        path = folder / "config.json"
        path.write_text(json.dumps(config))
        command = [*within, "docker-registry", "serve", str(path)]
        self._program = Program(command, folder)
        port = self._program.wait_ready(lambda: _LISTENING.search(self._program.err.read_text()))[1]
        self.host = f"{listen.rpartition(':')[0]}:{port}"
        self.url = f"{'https' if 'tls' in http else 'http'}://{self.host}"

    @property
    def requests(self) -> Requests:
        """What it was asked so far."""
        found = _ACCESS.findall(self._program.out.read_text())
        return Requests(
            Request(method, path, int(status), int(sent), agent)
            for method, path, status, sent, agent in found
        )

    def stop(self) -> None:
        self._program.stop()


class TokenServer:
    """Gives Bearer tokens to whom may have them, as the registry's own configuration asks."""

    def __init__(self, folder: Path) -> None:
        authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
        self._key = authority.private_key_pem.bytes()
        certificate = x509.load_pem_x509_certificate(authority.cert_pem.bytes())
        self._chain = base64.b64encode(certificate.public_bytes(Encoding.DER)).decode()
        self._bundle = folder / "token.pem"
        authority.cert_pem.write_to_path(str(self._bundle))
        self.lifetime_s = 300
        self.asked: list[tuple[str, str]] = []
        """(user, scope) of each request."""
        self.given: list[str] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/token"

    @property
    def settings(self) -> dict[str, Any]:
        """Return what the registry must know."""
        names = {"realm": self.url, "service": SERVICE, "issuer": ISSUER}
        return {"token": {**names, "rootcertbundle": str(self._bundle)}}

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def token(self, user: str, scopes: list[str]) -> str:
        """Return a token for as much of the scopes as the user may have."""
        now_s = int(time.time())  # noqa: TID251  # a token has a date
        access = []
        for scope in scopes:
            kind, _, rest = scope.partition(":")
            name, _, actions = rest.rpartition(":")
            is_allowed = user == "alice" or name.startswith(PUBLIC)
            granted = [action for action in actions.split(",") if action == "pull" and is_allowed]
            access.append({"type": kind, "name": name, "actions": granted})
        claims = {"iss": ISSUER, "sub": user, "aud": SERVICE, "jti": str(uuid.uuid4())}
        times = {"iat": now_s, "nbf": now_s - 5, "exp": now_s + self.lifetime_s}
        return jwt.encode(
            {**claims, **times, "access": access},
            self._key.decode(),
            algorithm="ES256",
            headers={"x5c": [self._chain]},
        )

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        tokens = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                query = parse_qs(urlsplit(self.path).query)
                given = self.headers.get("Authorization", "Basic Og==").removeprefix("Basic ")
                user, _, password = base64.b64decode(given).decode().partition(":")
                self._give(user, password, query.get("scope", []))

            def do_POST(self) -> None:
                length = int(self.headers.get("Content-Length", "0"))
                form = parse_qs(self.rfile.read(length).decode())
                user, password = form.get("username", [""])[0], form.get("password", [""])[0]
                self._give(user, password, form.get("scope", [""])[0].split())

            def _give(self, user: str, password: str, scopes: list[str]) -> None:
                tokens.asked += [(user, scope) for scope in scopes]
                if user and PASSWORDS.get(user) != password:
                    self._answer(401, {"details": "wrong user or password"})
                    return
                token = tokens.token(user, scopes)
                tokens.given.append(token)
                names = {"token": token, "access_token": token}
                self._answer(200, {**names, "expires_in": tokens.lifetime_s})

            def _answer(self, status: int, value: dict[str, Any]) -> None:
                body = json.dumps(value).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        return Handler


class RedirectingRegistry:
    """nginx before a registry: blobs are answered with 307 to a signed URL of an object store.

    As real ones do, the store refuses a URL that was signed for another method, and a request
    that brings an Authorization besides the signature. It has another address than the registry,
    and each URL is new.
    """

    ca_file = None

    def __init__(self, folder: Path, storage: Path, behind: Registry) -> None:
        folder.mkdir(parents=True)
        port, store_port = free_port(), free_port("127.0.0.2")
        self.host, self.url = f"127.0.0.1:{port}", f"http://127.0.0.1:{port}"
        self._access = folder / "access.log"
        blobs = storage / "docker" / "registry" / "v2" / "blobs" / "sha256"
        signed = "method=$request_method&id=$request_id&signature=" + SIGNATURE
        places = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        temporary = " ".join(f"{name}_temp_path {folder};" for name in places)
        config = folder / "nginx.conf"
        config.write_text(f"""
            daemon off; pid {folder}/pid; error_log {folder}/error.log; worker_processes 1;
            user root;
            events {{ worker_connections 512; }}
            http {{
                access_log {self._access}; {temporary}
                proxy_set_header Host $http_host;
                server {{
                    listen 127.0.0.1:{port};
                    location / {{ proxy_pass {behind.url}; }}
                    location ~ "^/v2/.+/blobs/sha256:(?<pair>..)(?<rest>[0-9a-f]+)$" {{
                        auth_request /allowed;
                        try_files /none @signed;
                    }}
                    location @signed {{
                        return 307 http://127.0.0.2:{store_port}/$pair/$pair$rest/data?{signed};
                    }}
                    location = /allowed {{
                        internal;
                        proxy_method HEAD;
                        proxy_pass_request_body off;
                        proxy_pass {behind.url}$request_uri;
                    }}
                }}
                server {{
                    listen 127.0.0.2:{store_port};
                    root {blobs};
                    if ($arg_signature != {SIGNATURE}) {{ return 403; }}
                    if ($arg_method != $request_method) {{ return 403; }}
                    if ($http_authorization) {{ return 400; }}
                }}
            }}""")
        self._program = Program(["nginx", "-c", str(config), "-p", str(folder)], folder)
        self._program.wait_ready(lambda: accepts("127.0.0.2", store_port))

    @property
    def requests(self) -> Requests:
        """What the front and the store were asked so far."""
        found = _ACCESS.findall(self._access.read_text())
        return Requests(
            Request(method, path, int(status), int(sent), agent)
            for method, path, status, sent, agent in found
        )

    def stop(self) -> None:
        self._program.stop()


@dataclass(frozen=True)
class Registries:
    """One of each kind, over the same blobs; certificates are from the authority of `ca_file`."""

    tokens: TokenServer
    open: Registry
    basic: Registry
    bearer: Registry
    tls: Registry
    redirecting: RedirectingRegistry
    ca_file: Path


@contextlib.contextmanager
def some_registries(folder: Path) -> Iterator[Registries]:
    """Give registries that end with the block."""
    storage, ca_file = folder / "storage", folder / "ca.pem"
    htpasswd, key = folder / "htpasswd", folder / "key.pem"
    htpasswd.write_text(HTPASSWD)
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(ca_file))
    certificate = authority.issue_cert("127.0.0.1", "registry.test")
    certificate.private_key_and_cert_chain_pem.write_to_path(str(key))
    basic = {"htpasswd": {"realm": "tests", "path": str(htpasswd)}}
    tls = {"tls": {"certificate": str(key), "key": str(key)}}
    with contextlib.ExitStack() as stack:

        def kept(started: S) -> S:
            stack.callback(started.stop)
            return started

        tokens = kept(TokenServer(folder))
        bearer = kept(Registry(folder / "bearer", storage, auth=tokens.settings))
        yield Registries(
            tokens=tokens,
            open=kept(Registry(folder / "open", storage)),
            basic=kept(Registry(folder / "basic", storage, auth=basic)),
            bearer=bearer,
            tls=kept(Registry(folder / "tls", storage, ca_file=ca_file, http=tls)),
            redirecting=kept(RedirectingRegistry(folder / "redirecting", storage, bearer)),
            ca_file=ca_file,
        )
