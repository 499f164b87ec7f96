"""An object is read in the version that its URL names, or not at all."""

import asyncio
import json
import shutil
import urllib.request
from base64 import b64encode
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from urllib.parse import parse_qs, quote

import pytest

from contract.source import read
from damselfly.core.bundling import BundleAddress
from damselfly.core.task import TaskSpec, Validators
from damselfly.errors import SourceRefusedError, TaskSpecError
from damselfly.services.options import SourceOptions
from damselfly.transport.sources.accounts import AccountOptions, Accounts
from damselfly.wire.hashing import new_hasher
from damselfly.wire.local_messages import DownloadRequest
from engines.seaweed import ACCESS_KEY, SECRET_KEY, ask_amazon, store_at
from fakes.source import FakeSource, random_bytes
from services.hosts import a_host, a_supernode
from transport import shelves

OLD, NEW = random_bytes(300_000, seed=21), random_bytes(200_000, seed=22)
KEPT = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
OTHER = "its store answers without one, or with another"


@dataclass
class TwoVersions:
    """An object of a bucket that keeps versions; `shelf` reads it."""

    shelf: shelves.CloudShelf
    name: str
    old: str
    new: str

    def spec(self, version: str) -> TaskSpec:
        return TaskSpec(url=f"{self.shelf.spec(self.name).url}?versionId={version}")

    async def delete(self, version: str) -> None:
        path = f"/kept/{quote(self.name)}?versionId={version}"
        endpoint = self.shelf.account.endpoint
        await asyncio.to_thread(ask_amazon, endpoint, "DELETE", path)


@pytest.fixture(scope="session")
def keeping(seaweed: str) -> str:
    """Give the endpoint of a store whose bucket `kept` keeps versions."""
    ask_amazon(seaweed, "PUT", "/kept")
    ask_amazon(seaweed, "PUT", "/kept?versioning=", KEPT)
    return seaweed


@pytest.fixture
async def two(keeping: str, tmp_path: Path) -> AsyncIterator[TwoVersions]:
    account = AccountOptions(
        match="s3://kept/",
        endpoint=keeping,
        user=ACCESS_KEY,
        password_file=shelves.secret_file(tmp_path, SECRET_KEY),
    )
    store = store_at(keeping, "kept")
    shelf = shelves.CloudShelf("s3://kept", store.put, account)
    name = f"{tmp_path.name}/a b"
    told = {"x-amz-checksum-sha256": b64encode(sha256(OLD).digest()).decode()}
    put = await asyncio.to_thread(ask_amazon, keeping, "PUT", f"/kept/{quote(name)}", OLD, told)
    new = (await store.put_async(name, NEW))["version"]
    yield TwoVersions(shelf, name, put["X-Amz-Version-Id"], new or "")
    await shelf.sources.close()


@pytest.mark.slow
class TestAmazon:
    async def test_the_version_that_is_named_is_read_and_its_checksum_told(
        self, two: TwoVersions
    ) -> None:
        sources = two.shelf.sources
        present, _ = await read(two.shelf, two.shelf.spec(two.name))

        answer, data = await read(two.shelf, two.spec(two.old))
        part, some = await read(
            two.shelf, two.spec(two.old), start_byte=250_000, validators=answer.validators
        )
        newer, other = await read(two.shelf, two.spec(two.new))

        assert (data, some, other) == (OLD, OLD[250_000:], NEW)
        assert (part.status, part.size_bytes) == (206, len(OLD))
        assert str(answer.digest) == f"sha256:{sha256(OLD).hexdigest()}"
        assert newer.digest is None
        assert newer.validators == present.validators != answer.validators
        for version, told in ((two.old, answer), (two.new, newer)):
            found = await sources.validate(two.spec(version), told.validators)
            assert (found.status, found.validators) == (200, told.validators)

    async def test_one_that_was_deleted_is_refused_and_the_other_is_read(
        self, two: TwoVersions
    ) -> None:
        sources = two.shelf.sources

        await two.delete(two.old)

        assert (await sources.validate(two.spec(two.old), Validators())).status == 404
        with pytest.raises(SourceRefusedError, match="404"):
            await sources.read(two.spec(two.old))
        assert (await read(two.shelf, two.spec(two.new)))[1] == NEW

    async def test_a_bucket_that_keeps_none_gives_none_instead_of_its_present_one(
        self, seaweed: str, tmp_path: Path
    ) -> None:
        shelf = shelves.ObjectShelf(seaweed, tmp_path / "shelf")
        present = await shelf.put("one", NEW)

        some, none = (
            TaskSpec(url=f"{present.url}?versionId={version}") for version in ("x", "null")
        )
        with pytest.raises(TaskSpecError, match=OTHER):
            await shelf.sources.read(some)
        with pytest.raises(TaskSpecError, match=OTHER):
            await shelf.sources.authorise(some)
        assert (await read(shelf, none))[1] == NEW
        await shelf.sources.close()

    async def test_two_versions_are_two_contents_and_a_deleted_one_is_not_handed_out(
        self, two: TwoVersions, tmp_path: Path
    ) -> None:
        source = SourceOptions(
            accounts=(two.shelf.account,), freshness_window_s=0, negative_window_s=0
        )
        async with (
            a_supernode(tmp_path, source) as supernode,
            a_host(tmp_path, "ann", supernode) as ann,
            a_host(tmp_path, "bob", supernode) as bob,
        ):
            for host in (ann, bob):
                for version, data in ((two.old, OLD), (two.new, NEW)):
                    request = DownloadRequest(url=two.spec(version).url)
                    finished = await host.downloads.get(request, lambda _: None)
                    assert Path(finished.content_path).read_bytes() == data
            await two.delete(two.old)

            with pytest.raises(SourceRefusedError, match="404"):
                await bob.downloads.get(DownloadRequest(url=two.spec(two.old).url), lambda _: None)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["nothing", "service account"])
async def test_google_gives_the_generation_that_is_named(tmp_path: Path, kind: str) -> None:
    async with shelves.gcs_shelf(tmp_path) as shelf:
        bucket = f"{shelf.account.endpoint}/storage/v1/b/shelf"
        named = {"Content-Type": "application/json"}
        keep = b'{"versioning":{"enabled":true}}'
        with urllib.request.urlopen(urllib.request.Request(bucket, keep, named, method="PATCH")):
            pass
        await shelf.put("a/b", OLD)
        present = await shelf.put("a/b", NEW)
        with urllib.request.urlopen(f"{bucket}/o?versions=true") as told:
            listed = {item["size"]: item["generation"] for item in json.load(told)["items"]}
        token = shelves.service_account() if kind == "service account" else ""
        token_file = shelves.secret_file(tmp_path, token) if token else ""
        sources = shelves.sources_with(replace(shelf.account, token_file=token_file))

        for data in (OLD, NEW):
            spec = TaskSpec(url=f"{present.url}?generation={listed[str(len(data))]}")
            answer, found = await read(shelf, spec)
            async with await sources.read(spec) as reading:
                checksum = reading.answer.checksum

            assert found == data
            assert (answer.status, answer.checksum) == (200, crc32c(data))
            # What obstore signs names no generation.
            assert checksum == ("" if token else crc32c(data))
        with pytest.raises(SourceRefusedError, match="404"):
            await sources.read(TaskSpec(url=f"{present.url}?generation=5"))
        await sources.close()


def crc32c(data: bytes) -> str:
    hasher = new_hasher("crc32c")
    hasher.update(data)
    return f"crc32c:{hasher.hexdigest()}"


async def test_azure_is_asked_for_the_version_by_get_and_head(tmp_path: Path) -> None:
    version = "2026-11-30T12:00:00.1234567Z"
    async with FakeSource() as fake:
        fake.add("/box/a b", OLD, headers={"x-ms-version-id": version})
        token = shelves.secret_file(tmp_path, "sv=1&sig=s3cr3t")
        account = AccountOptions(
            match="az://box/", endpoint=fake.url(""), user="anna", token_file=token
        )
        sources = shelves.sources_with(account)
        spec = TaskSpec(url=f"az://box/a%20b?versionid={quote(version)}")

        answer = await sources.authorise(spec)
        await (await sources.read(spec)).__aexit__()
        with pytest.raises(TaskSpecError, match=OTHER):
            await sources.read(TaskSpec(url="az://box/a%20b?versionid=2025-01-01"))
        await sources.close()

    assert answer.size_bytes == len(OLD)
    assert sorted(request.method for request in fake.requests[:3]) == ["GET", "HEAD", "HEAD"]
    for query in fake.queries_seen[:3]:
        assert parse_qs(query) == {"versionid": [version], "sv": ["1"], "sig": ["s3cr3t"]}


if shutil.which("azurite-blob"):

    @pytest.mark.slow
    async def test_azurite_which_keeps_no_versions_gives_none(tmp_path: Path) -> None:
        async with shelves.azure_shelf(tmp_path) as shelf:
            present = await shelf.put("a", NEW)

            with pytest.raises(TaskSpecError, match=OTHER):
                await shelf.sources.read(TaskSpec(url=f"{present.url}?versionid=2025-01-01"))


@pytest.mark.parametrize("form", ["list", "bundle"])
async def test_of_what_lies_below_an_address_there_are_no_versions(form: str) -> None:
    folder = "s3://kept/folder/?versionId=1"
    url = f"list+{folder}" if form == "list" else BundleAddress(folder_url=folder).url
    sources = shelves.sources_with()

    with pytest.raises(TaskSpecError, match="a version is one of an object"):
        await sources.read(TaskSpec(url=url))

    await sources.close()


def test_an_account_of_one_object_is_that_of_its_versions() -> None:
    accounts = Accounts([AccountOptions(match="s3://kept/a", user="anna")])

    found = [accounts.find(f"s3://kept/{name}?versionId=1").user for name in ("a", "ab")]

    assert found == ["anna", ""]
