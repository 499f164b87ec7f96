"""The registry source, against docker-registry: images as folders that skopeo reads."""

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from damselfly.core.task import TaskSpec, Validators
from damselfly.errors import RegistryPathError, SourceBrokenError, SourceRefusedError
from damselfly.services.options import RegistryOptions, SourceOptions
from damselfly.services.sources import open_sources
from damselfly.transport.sources.accounts import AccountOptions, basic
from damselfly.transport.sources.by_scheme import Sources
from damselfly.wire.listings import decode_listing
from engines import images
from engines.programs import Program
from engines.registries import PASSWORDS, Registry, TokenServer
from fakes.registry import FakeRegistry
from transport.readings import body_of
from transport.shelves import secret_file

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Registry]]:
    folder = tmp_path_factory.mktemp("registry")
    registry = Registry(folder / "open", folder / "blobs")
    yield folder / "blobs", registry
    registry.stop()


@pytest.fixture(scope="module")
def image(storage: tuple[Path, Registry]) -> images.Image:
    layers = [images.layer(200_000, name, "gzip") for name in ("a", "b")]
    found = images.index({"amd64": images.image(layers[0]), "arm64": images.image(*layers)})
    pusher = images.Pusher(storage[1].url)
    pusher.push("public/multi", ["v1"], found)
    pusher.push("private/multi", ["v1"], found)
    pusher.close()
    return found


@pytest.fixture
async def sources(storage: tuple[Path, Registry], image: images.Image) -> AsyncIterator[Sources]:
    assert image.digest
    found = open_sources(SourceOptions(), [RegistryOptions(name="r.test", url=storage[1].url)])
    yield found
    await found.close()


async def read(sources: Sources, spec: TaskSpec) -> bytes:
    async with await sources.read(spec) as reading:
        return await body_of(reading, part_bytes=50_000)


async def test_an_image_becomes_a_folder_that_skopeo_reads(
    sources: Sources, image: images.Image, tmp_path: Path
) -> None:
    listing = await read(sources, TaskSpec(url="list+oci://r.test/public/multi:v1"))

    for member in decode_listing(listing):
        path = tmp_path / "layout" / member.path
        path.parent.mkdir(parents=True, exist_ok=True)
        data = await read(sources, TaskSpec(url=member.url)) if member.url else member.text.encode()
        assert len(data) == member.size_bytes
        path.write_bytes(data)
    (tmp_path / "out").mkdir()
    copied = f"dir:{tmp_path}/out"
    command = ["skopeo", "copy", "--all", "--preserve-digests", "--insecure-policy"]
    program = Program([*command, f"oci:{tmp_path}/layout:v1", copied], tmp_path / "skopeo")
    program._process.wait(30)
    assert program._process.returncode == 0, program.err.read_text()
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest == json.loads(image.manifest.data)


async def test_a_tag_is_confirmed_by_its_digest(sources: Sources, image: images.Image) -> None:
    spec = TaskSpec(url="oci://r.test/public/multi:v1")
    async with await sources.read(spec) as reading:
        known = reading.answer

    assert str(known.digest) == image.digest
    assert (await sources.validate(spec, known.validators)).status == 304
    assert (await sources.validate(spec, Validators(etag='"x"'))).status == 200
    missing = await sources.authorise(TaskSpec(url="oci://r.test/public/multi:v2"))
    assert missing.status == 404


async def test_a_private_image_is_read_with_a_token_of_the_account_or_the_requester(
    storage: tuple[Path, Registry], image: images.Image, tmp_path: Path
) -> None:
    tokens = TokenServer(tmp_path)
    registry = Registry(tmp_path / "private", storage[0], auth=tokens.settings)
    where = [RegistryOptions(name="r.test", url=registry.url)]
    account = AccountOptions(
        match="oci://r.test/", user="alice", password_file=secret_file(tmp_path, "secret")
    )
    trusted = open_sources(SourceOptions(accounts=(account,)), where)
    plain = open_sources(SourceOptions(), where)
    url = f"oci://r.test/private/multi@{image.digest}"
    alice = TaskSpec(url=url, headers=(basic("alice", PASSWORDS["alice"]),))
    bob = TaskSpec(url=url, headers=(basic("bob", PASSWORDS["bob"]),))
    stranger = TaskSpec(url=url, headers=(basic("alice", "wrong"),))

    assert await read(trusted, TaskSpec(url=url)) == image.manifest.data
    assert await read(plain, alice) == image.manifest.data
    for spec in (TaskSpec(url=url), bob, stranger):
        assert (await plain.authorise(spec)).status == 401
    with pytest.raises(SourceRefusedError, match="401"):
        await read(plain, bob)
    assert (await trusted.authorise(bob)).status == 401
    await trusted.close()
    await plain.close()
    registry.stop()
    tokens.stop()


async def test_what_is_no_image_is_told_so(sources: Sources) -> None:
    with pytest.raises(RegistryPathError, match="repository"):
        await read(sources, TaskSpec(url="oci://r.test/NO"))


async def test_a_manifest_with_a_digest_that_is_none_is_no_folder() -> None:
    async with FakeRegistry() as registry:
        registry.add("/v2/x/manifests/v1", b'{"layers": [{"digest": "md5:1"}]}')
        where = [RegistryOptions(name="r.test", url=registry.url(""))]
        sources = open_sources(SourceOptions(), where)

        with pytest.raises(SourceBrokenError, match="digest that is none"):
            await read(sources, TaskSpec(url="list+oci://r.test/x:v1"))

        await sources.close()
