"""Which source is asked, as whom, and what is said of those that cannot be asked."""

import base64
import importlib
import os
import sys
from pathlib import Path

import pytest

from damselfly.core.bundling import BundleAddress
from damselfly.core.task import TaskSpec
from damselfly.errors import (
    SettingsError,
    SourceBrokenError,
    SourceChangedError,
    SourceRefusedError,
    SourceUnreachableError,
    TaskSpecError,
)
from damselfly.services.options import SourceOptions
from damselfly.transport.sources.accounts import AccountOptions, Accounts, basic
from damselfly.transport.sources.checksums import checksum_told
from engines.programs import free_port
from fakes.hub import FakeHub
from fakes.source import FakeSource, random_bytes
from transport.readings import body_of
from transport.shelves import secret_file, served_shelf, sources_with

SECRET = "s3cr3t-of-a-test"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("nothing://h/f", "no source knows nothing://"),
        ("memory://h/f", "no source knows memory://"),
        ("local://h/f", "no source knows local://"),
        ("zip://h/f", "no source knows zip://"),
        ("odd+http://h/f", "a form that is none of"),
        ("oss://bucket/f", r"ossfs.*install damselfly\[fsspec\]"),
        ("hf://org", "hf://org/name"),
        ("hf://org/name", "no file; --recursive"),
        ("hf://datasets/org/name@main/", "no file; --recursive"),
        ("s3://bucket/key?versionid=1", "its version, versionId="),
        ("s3://bucket/key?versionId=", "its version, versionId="),
        ("s3://bucket/key?versionId=1&versionId=2", "its version, versionId="),
        ("gs://bucket/key?versionId=1", "its version, generation="),
        ("az://bucket/key?versionId=1", "its version, versionid="),
    ],
)
async def test_a_source_that_cannot_be_asked_is_told_with_what_to_do(url: str, words: str) -> None:
    sources = sources_with()

    with pytest.raises(TaskSpecError, match=words):
        await sources.read(TaskSpec(url=url))

    await sources.close()


async def test_without_fsspec_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fsspec.registry", None)
    assert importlib.util.find_spec("fsspec")
    sources = sources_with()

    with pytest.raises(TaskSpecError, match=r"install damselfly\[fsspec\]"):
        await sources.read(TaskSpec(url="sftp://h/f"))


@pytest.mark.parametrize("url", ["file:///etc/passwd", "file://{allowed}/../out", "file://{link}"])
async def test_files_outside_the_allowed_folders_are_refused(tmp_path: Path, url: str) -> None:
    (tmp_path / "allowed").mkdir()
    (tmp_path / "out").write_text("x")
    (tmp_path / "allowed" / "link").symlink_to(tmp_path / "out")
    url = url.format(allowed=tmp_path / "allowed", link=tmp_path / "allowed" / "link")
    sources = sources_with(folders=(str(tmp_path / "allowed"),))

    with pytest.raises(SourceRefusedError, match="403"):
        await sources.read(TaskSpec(url=url))


async def test_links_in_a_folder_are_files_of_it_and_lead_in_no_circle(tmp_path: Path) -> None:
    allowed = tmp_path / "allowed"
    (allowed / "top" / "deep").mkdir(parents=True)
    (allowed / "blobs").mkdir()
    (allowed / "blobs" / "1").write_text("x")
    (tmp_path / "out").mkdir()
    links = {
        "file": "../blobs/1",
        "folder": "../blobs",
        "out": str(tmp_path / "out"),
        "none": "gone",
    }
    for name, target in (links | {"circle": ".", "deep/up": ".."}).items():
        (allowed / "top" / name).symlink_to(target)
    sources = sources_with(folders=(str(allowed),))

    members = await sources.list_below(TaskSpec(url=f"file://{allowed}/top"))

    by_path = {member.path: member for member in members}
    assert set(by_path) == {"file", "folder/1", "out"}
    for name in ("file", "folder/1"):
        async with await sources.read(TaskSpec(url=by_path[name].url)) as reading:
            assert await body_of(reading) == b"x"
    with pytest.raises(SourceRefusedError, match="it is in no folder"):
        await sources.read(TaskSpec(url=by_path["out"].url))
    await sources.close()


async def test_a_name_that_is_no_text_is_told(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"\xff.bin")).write_text("x")
    sources = sources_with(folders=(str(tmp_path),))

    with pytest.raises(SourceBrokenError, match="no UTF-8"):
        await sources.list_below(TaskSpec(url=f"file://{tmp_path}"))
    await sources.close()


@pytest.mark.parametrize("scheme", ["s3", "ftp", "smb", "webhdfs", "hf", "oci"])
async def test_a_server_that_is_not_there_is_unreachable(scheme: str) -> None:
    port = free_port()
    where = f"127.0.0.1:{port}"
    account = AccountOptions(match=f"{scheme}://bucket/", endpoint=f"http://{where}")
    name = "bucket" if scheme in ("s3", "hf") else where
    sources = sources_with(account)

    with pytest.raises(SourceUnreachableError, match="refused"):
        await sources.read(TaskSpec(url=f"{scheme}://{name}/name/f"))

    await sources.close()


def test_the_longest_account_counts_and_ends_where_a_name_ends() -> None:
    accounts = Accounts(
        [
            AccountOptions(match="https://h", user="all"),
            AccountOptions(match="https://h/deep/er", user="deep"),
        ]
    )

    found = [
        accounts.find(url).user
        for url in ("https://h/x", "https://h/deep/er/f", "https://h/deep/erratum", "https://h.x/")
    ]
    assert found == ["all", "deep", "all", ""]


@pytest.mark.slow
async def test_who_may_look_at_a_file_but_not_read_it_is_refused_its_bundle_too(
    tmp_path: Path,
) -> None:
    async with served_shelf("sftp", tmp_path) as shelf:
        specs = [await shelf.put(f"some/{number}", b"x" * 100) for number in range(5)]
        bundle = TaskSpec(url=BundleAddress(folder_url=shelf.spec("some/").url).url)
        before = await shelf.sources.authorise(bundle)
        (shelf.folder / "some/3").chmod(0)

        statuses = [(await shelf.sources.authorise(spec)).status for spec in specs]
        after = await shelf.sources.authorise(bundle)

        assert statuses == [200, 200, 200, 403, 200]
        assert (before.status, after.status) == (200, 403)


async def test_accounts_show_what_a_requester_does_not(tmp_path: Path) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine 127.0.0.1 login anna password {SECRET}\n")
    async with FakeSource() as fake:
        fake.add("/basic", b"1", required_header=basic("anna", SECRET))
        fake.add("/bearer", b"2", required_header=("Authorization", f"Bearer {SECRET}"))
        fake.add("/own", b"3", required_header=("Authorization", "Bearer own"))
        token = AccountOptions(match=fake.url("/bearer"), token_file=secret_file(tmp_path, SECRET))
        sources = sources_with(token, netrc_file=str(netrc))
        own = (("Authorization", "Bearer own"),)

        for path, headers in (("/basic", ()), ("/bearer", ()), ("/own", own)):
            async with await sources.read(TaskSpec(url=fake.url(path), headers=headers)) as reading:
                assert await body_of(reading) == fake.contents[path].data
        answer = await sources.authorise(TaskSpec(url=fake.url("/basic"), headers=own))
        assert answer.status == 403
        await sources.close()


def test_secrets_of_accounts_are_not_in_what_settings_show(tmp_path: Path) -> None:
    account = AccountOptions(match="s3://b", password_file=secret_file(tmp_path, SECRET))

    assert account.password == SECRET
    assert SECRET not in repr(account)


@pytest.mark.parametrize(
    ("account", "words"),
    [
        ({"match": "nothing"}, "scheme"),
        ({"match": "s3://b", "endpoint": "x"}, "scheme"),
        ({}, "needs a match"),
    ],
)
def test_an_account_that_makes_no_sense_is_told_so(account: dict[str, str], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        SourceOptions(accounts=(AccountOptions(**account),))  # type: ignore[arg-type]


def test_a_secret_that_cannot_be_read_is_told_without_it(tmp_path: Path) -> None:
    account = AccountOptions(match="s3://b", token_file=str(tmp_path / "none"))

    with pytest.raises(SettingsError, match="cannot be read"):
        _ = account.token
    with pytest.raises(SettingsError, match="netrc_file"):
        Accounts(netrc_file=str(tmp_path / "none")).shown(TaskSpec(url="http://h/f"))


async def test_a_large_file_of_a_hub_has_its_sha256_and_keeps_the_token_at_home(
    tmp_path: Path,
) -> None:
    data = random_bytes(5000, seed=1)
    async with FakeHub(token=SECRET) as hub:
        hub.files["org/Name"] = {"model.bin": data, "config.json": b"{}", "c": b"3"}
        account = AccountOptions(
            match="hf://org/", endpoint=hub.url, token_file=secret_file(tmp_path, SECRET)
        )
        sources = sources_with(account)

        async with await sources.read(TaskSpec(url="hf://org/Name@main/model.bin")) as reading:
            assert await body_of(reading) == data
            digest = reading.answer.digest
        members = await sources.list_below(TaskSpec(url="hf://org/Name"))

        assert digest is not None
        assert {member.path: member.digest for member in members} == {
            "model.bin": str(digest),
            "config.json": "",
            "c": "",
        }
        commit = hub.commit_of("org/Name")
        assert {member.url for member in members} >= {f"hf://org/Name@{commit}/model.bin"}
        await sources.close()


@pytest.mark.parametrize(
    ("headers", "checksum"),
    [
        ({"Content-MD5": base64.b64encode(b"m" * 16).decode()}, "md5:" + "6d" * 16),
        ({"x-amz-checksum-crc32c": "AAAAAQ=="}, "crc32c:00000001"),
        ({"x-amz-checksum-crc32": "AAAAAQ=="}, "crc32:00000001"),
        ({"x-amz-checksum-crc64nvme": "AAAAAAAAAAE="}, "crc64nvme:0000000000000001"),
        ({"x-amz-checksum-crc32": "AAAAAQ==-3"}, ""),  # of its parts
        ({"x-goog-hash": "crc32c=AAAAAQ==,md5=xx"}, "crc32c:00000001"),
        ({"x-goog-hash": "crc32c=AAAAAQ==", "x-goog-stored-content-encoding": "gzip"}, ""),
        ({"Content-MD5": "no"}, ""),
        ({"Content-MD5": "AAAA"}, ""),
        ({}, ""),
    ],
)
def test_checksums_that_sources_tell(headers: dict[str, str], checksum: str) -> None:
    assert checksum_told(headers) == checksum


async def test_after_a_file_of_a_bundle_has_changed_its_folder_is_listed_again() -> None:
    files = {f"f{number}": random_bytes(1000, seed=number) for number in range(5)}
    sources = sources_with()
    async with FakeSource() as fake:

        def put(name: str, data: bytes) -> None:
            files[name] = data
            fake.add(f"/top/{name}", data)

        def put_page() -> None:
            lines = [
                f'<a href="{name}">{name}</a> 01-Jan-2025 00:00 {len(data)}'
                for name, data in files.items()
            ]
            fake.add("/top/", "\n".join(lines).encode())

        for name, data in files.items():
            put(name, data)
        put_page()
        bundle = TaskSpec(url=BundleAddress(folder_url=fake.url("/top/")).url)
        first = await sources.read(bundle)
        put("f4", random_bytes(1100, seed=9))
        put_page()

        with pytest.raises(SourceChangedError):
            async with first:
                await body_of(first)
        async with await sources.read(bundle) as second:
            body = await body_of(second)

    assert body.endswith(b"".join(files.values()))
    await sources.close()
