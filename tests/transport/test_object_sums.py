"""What object stores tell of their objects' checksums is asked for, and compared."""

import asyncio
import hashlib
import json
import shutil
import sys
from base64 import b64encode
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import obstore
import pytest
from structlog.testing import capture_logs

from damselfly.core.bundling import BundleAddress
from damselfly.core.task import TaskSpec
from damselfly.errors import DamselflyError, DigestMismatchError, SourceBrokenError
from damselfly.services.options import SourceOptions
from damselfly.transport.provider import SourceAnswer
from damselfly.transport.sources.accounts import AccountOptions
from damselfly.transport.sources.by_scheme import Sources
from damselfly.wire.hashing import new_hasher
from damselfly.wire.local_messages import DownloadRequest
from engines.seaweed import ACCESS_KEY, SECRET_KEY, ask_amazon
from fakes.relay import damaging_relay
from fakes.source import FakeSource, random_bytes
from services.hosts import a_host, a_supernode
from transport import shelves
from transport.readings import body_of

DATA = random_bytes(300_000, seed=3)
NAMES = ("sha256", "sha1", "crc32", "crc32c", "crc64nvme")
MODE = "x-amz-checksum-mode"


def sum_of(name: str, data: bytes = DATA) -> str:
    hasher = new_hasher(name)
    hasher.update(data)
    return f"{name}:{hasher.hexdigest()}"


def encoded(told: str) -> str:
    return b64encode(bytes.fromhex(told.partition(":")[2])).decode()


def put_with(shelf: shelves.ObjectShelf, key: str, name: str) -> TaskSpec:
    """Put an object with a checksum, which the store keeps; our own library can do one of them."""
    path = f"/shelf/{shelf.prefix}/{key}"
    told = {f"x-amz-checksum-{name}": encoded(sum_of(name))}
    ask_amazon(shelf.account.endpoint, "PUT", path, DATA, told)
    return shelf.spec(key)


async def told_of(sources: Sources, spec: TaskSpec) -> SourceAnswer:
    async with await sources.read(spec) as reading:
        await body_of(reading, part_bytes=70_000)
        return reading.answer


async def error_of(tmp_path: Path, spec: TaskSpec, *accounts: AccountOptions) -> DamselflyError:
    """Return why a host does not get a content."""
    source = SourceOptions(accounts=accounts, retries_max=1)
    async with (
        a_supernode(tmp_path, source) as supernode,
        a_host(tmp_path, "ann", supernode) as host,
    ):
        with pytest.raises(DamselflyError) as caught:
            await host.downloads.get(DownloadRequest(url=spec.url), lambda _: None)
        return caught.value


@pytest.fixture
async def shelf(seaweed: str, tmp_path: Path) -> AsyncIterator[shelves.ObjectShelf]:
    shelf = shelves.ObjectShelf(seaweed, tmp_path / "shelf")
    yield shelf
    await shelf.sources.close()


@pytest.mark.slow
class TestAmazon:
    @pytest.mark.parametrize("name", NAMES)
    async def test_the_checksum_that_an_object_was_put_with_is_told(
        self, shelf: shelves.ObjectShelf, name: str
    ) -> None:
        spec = await asyncio.to_thread(put_with, shelf, name, name)

        answer = await told_of(shelf.sources, spec)

        assert (str(answer.digest) if answer.digest else answer.checksum) == sum_of(name)

    @pytest.mark.parametrize(
        ("name", "error"), [("sha256", DigestMismatchError), ("crc64nvme", SourceBrokenError)]
    )
    async def test_what_was_damaged_on_the_way_is_not_handed_out(
        self, shelf: shelves.ObjectShelf, tmp_path: Path, name: str, error: type[Exception]
    ) -> None:
        spec = await asyncio.to_thread(put_with, shelf, "damaged", name)

        async with damaging_relay(shelf.account.endpoint) as endpoint:
            found = await error_of(tmp_path, spec, replace(shelf.account, endpoint=endpoint))

        assert isinstance(found, error), found

    async def test_keys_in_the_environment_of_a_machine_are_enough(
        self, shelf: shelves.ObjectShelf, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
        spec = await asyncio.to_thread(put_with, shelf, "machine", "sha256")
        account = replace(shelf.account, user="", password_file="", from_machine=True)
        sources = shelves.sources_with(account)

        answer = await told_of(sources, spec)

        assert str(answer.digest) == sum_of("sha256")
        await sources.close()

    async def test_a_file_of_a_bundle_that_was_damaged_is_named(
        self, shelf: shelves.ObjectShelf
    ) -> None:
        for number in range(5):
            await asyncio.to_thread(put_with, shelf, f"many/{number}", "crc32")
        bundle = TaskSpec(url=BundleAddress(folder_url=shelf.spec("many/").url).url)

        async with damaging_relay(shelf.account.endpoint) as endpoint:
            sources = shelves.sources_with(replace(shelf.account, endpoint=endpoint))
            with pytest.raises(SourceBrokenError, match=r"many/0.* it is crc32:"):
                await told_of(sources, bundle)
            await sources.close()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["nothing", "bearer", "service account"])
async def test_google_tells_a_crc_to_whoever_may_read(tmp_path: Path, kind: str) -> None:
    async with shelves.gcs_shelf(tmp_path) as shelf:
        spec = await shelf.put("a b", DATA)
        token = {"bearer": "tok", "service account": shelves.service_account()}.get(kind, "")
        token_file = shelves.secret_file(tmp_path, token) if token else ""
        sources = shelves.sources_with(replace(shelf.account, token_file=token_file))

        answer = await told_of(sources, spec)

        assert answer.checksum == sum_of("crc32c")
        await sources.close()


if shutil.which("azurite-blob"):

    @pytest.mark.slow
    @pytest.mark.parametrize("kind", ["key", "signature"])
    async def test_azure_tells_an_md5(tmp_path: Path, kind: str) -> None:
        async with shelves.azure_shelf(tmp_path) as shelf:
            spec = await shelf.put("ab", DATA)
            account = shelf.account
            if kind == "signature":
                store = shelves.azure_at(account.endpoint)
                signed = await obstore.sign_async(store, "GET", "ab", timedelta(minutes=1))
                token = shelves.secret_file(tmp_path, signed.partition("?")[2])
                account = replace(account, password_file="", token_file=token)
            sources = shelves.sources_with(account)

            answer = await told_of(sources, spec)

            assert answer.checksum == f"md5:{hashlib.md5(DATA).hexdigest()}"
            await sources.close()


class TestAnybody:
    """Of a bucket that lets everybody read."""

    ACCOUNT = AccountOptions(match="s3://open/")
    SPEC = TaskSpec(url="s3://open/f")

    async def test_it_is_asked_for_once_when_the_whole_is_read(self) -> None:
        told = {"x-amz-checksum-crc32c": encoded(sum_of("crc32c"))}
        async with FakeSource() as fake:
            fake.add("/open/f", DATA, headers=told)
            sources = shelves.sources_with(replace(self.ACCOUNT, endpoint=fake.url("")))

            answer = await told_of(sources, self.SPEC)
            await sources.validate(self.SPEC, answer.validators)
            async with await sources.read(
                self.SPEC, start_byte=5, validators=answer.validators
            ) as reading:
                part = reading.answer
            await sources.close()

            assert (answer.checksum, part.checksum) == (sum_of("crc32c"), "")
            assert [headers.get(MODE) for headers in fake.headers_seen].count("ENABLED") == 1
            assert not any("Authorization" in headers for headers in fake.headers_seen)

    async def test_that_of_another_version_counts_for_nothing(self) -> None:
        async with FakeSource() as fake:
            content = fake.add("/open/f", DATA, is_head_stalled=True)
            sources = shelves.sources_with(replace(self.ACCOUNT, endpoint=fake.url("")))
            reading = asyncio.ensure_future(told_of(sources, self.SPEC))
            while not (fake.count("GET") and content.has_stalled.is_set()):
                await asyncio.sleep(0)
            content.change(DATA[:-1])
            content.headers = {"x-amz-checksum-crc32c": "AAAAAQ=="}
            content.release()

            assert (await reading).checksum == ""
            await sources.close()

    async def test_where_it_is_refused_the_object_is_read(self) -> None:
        async with FakeSource() as fake:
            fake.add("/open/f", DATA, no_head=True)
            sources = shelves.sources_with(replace(self.ACCOUNT, endpoint=fake.url("")))

            answer = await told_of(sources, self.SPEC)

            assert (answer.digest, answer.checksum) == (None, "")
            await sources.close()

    @pytest.mark.slow
    async def test_where_no_answer_comes_it_is_not_asked_for_again(self) -> None:
        async with FakeSource() as fake:
            fake.add("/open/f", DATA, is_head_stalled=True)
            account = replace(self.ACCOUNT, endpoint=fake.url(""))
            sources = shelves.sources_with(account, connect_timeout_s=1.0)

            for _ in range(2):
                assert (await told_of(sources, self.SPEC)).checksum == ""

            assert [MODE in headers for headers in fake.headers_seen].count(True) == 1
            await sources.close()


def keyed_bucket(fake: FakeSource, tmp_path: Path) -> Sources:
    """Return sources with keys to a bucket with the object `f`, of which no head is told."""
    fake.add("/own/f", DATA, no_head=True)
    account = AccountOptions(
        match="s3://own/",
        endpoint=fake.url(""),
        user=ACCESS_KEY,
        password_file=shelves.secret_file(tmp_path, "s3cr3t-key"),
        token_file=shelves.secret_file(tmp_path, "s3cr3t-of-session"),
    )
    return shelves.sources_with(account)


async def test_keys_are_neither_sent_nor_logged(tmp_path: Path) -> None:
    async with FakeSource() as fake:
        sources = keyed_bucket(fake, tmp_path)

        with capture_logs() as logged:
            await told_of(sources, TaskSpec(url="s3://own/f"))

        (asked,) = [headers for headers in fake.headers_seen if MODE in headers]
        assert asked["Authorization"].startswith("AWS4-HMAC-SHA256 Credential=anna/")
        assert asked["X-Amz-Security-Token"] == "s3cr3t-of-session"
        assert "s3cr3t-key" not in str(asked)
        assert [line["event"] for line in logged] == ["checksum_not_told"]
        assert "s3cr3t" not in str(logged)
        await sources.close()


async def test_what_a_machine_is_beyond_its_environment_is_not_looked_for_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    role = {
        "AccessKeyId": "of-the-role",
        "SecretAccessKey": "s3cr3t",
        "Token": "t0k",
        "Expiration": "2099-01-01T00:00:00Z",
        "Code": "Success",
        "Type": "AWS-HMAC",
        "LastUpdated": "2026-01-01T00:00:00Z",
    }
    roles = "/latest/meta-data/iam/security-credentials/"
    async with FakeSource() as fake:  # the machine's cloud, too
        monkeypatch.setenv("AWS_METADATA_ENDPOINT", fake.url(""))
        fake.add("/latest/api/token", b"t")
        fake.add(roles, b"role")
        fake.add(f"{roles}role", json.dumps(role).encode())
        fake.add("/own/f", DATA)
        account = AccountOptions(match="s3://own/", endpoint=fake.url(""), from_machine=True)
        sources = shelves.sources_with(account)

        answer = await told_of(sources, TaskSpec(url="s3://own/f"))

        assert (answer.size_bytes, answer.checksum) == (len(DATA), "")
        (asked,) = [seen for seen in fake.headers_seen if "authorization" in str(seen).lower()]
        assert "Credential=of-the-role/" in str(asked)
        assert fake.count("HEAD") == 0
        await sources.close()


async def test_without_the_package_that_signs_objects_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "awscrt", None)
    async with FakeSource() as fake:
        sources = keyed_bucket(fake, tmp_path)

        with capture_logs() as logged:
            for _ in range(2):
                await told_of(sources, TaskSpec(url="s3://own/f"))

        assert not any(MODE in headers for headers in fake.headers_seen)
        assert [line["reason"] for line in logged] == ["ModuleNotFoundError"]
        await sources.close()
