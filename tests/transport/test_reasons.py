"""Guards what people read when a request failed: what happened, to what, and what to do."""

import asyncio
import random
from collections.abc import Sequence
from pathlib import Path

import aiohttp
import pytest

from damselfly.core.task import TaskSpec
from damselfly.errors import (
    NAME_UNKNOWN,
    SourceRefusedError,
    SourceUnreachableError,
    SuperNodeUnreachableError,
)
from damselfly.transport.session_client import SessionClient
from damselfly.transport.sources.kinds.files import FileSource
from damselfly.wire.session_messages import Hello

URL = "https://files.example/f"
AFTER = (("Retry-After", "120"),)


@pytest.mark.parametrize(
    ("status", "headers", "hint"),
    [
        (401, (), "it wants credentials; dfget gives them with --header, an engine by its login"),
        (404, (), "there is nothing at this address"),
        (410, (), "check the address"),
        (429, (), "it is asked too often; try again later"),
        (429, AFTER, "it is asked too often; try again in 120 s"),
        (429, (("Retry-After", "Fri, 31 Dec 1999 23:59:59 GMT"),), "it is asked too often"),
        (500, (), "ask whoever runs it"),
        (503, AFTER, "try again in 120 s"),
    ],
)
def test_a_refusal_says_what_to_do(
    status: int, headers: Sequence[tuple[str, str]], hint: str
) -> None:
    error = SourceRefusedError(url=URL, status=status, http_headers=tuple(headers))

    assert str(error).startswith(f"source {URL} answered {status}: {hint}")


@pytest.mark.parametrize(
    ("reason", "hint"),
    [(NAME_UNKNOWN, "check the name, and the DNS of whoever asks it"), ("x", "when it is up")],
)
def test_a_name_that_is_unknown_is_not_to_be_waited_for(reason: str, hint: str) -> None:
    assert str(SourceUnreachableError(url=URL, reason=reason)).endswith(hint)


async def test_a_file_in_no_allowed_folder_is_a_matter_of_a_setting(tmp_path: Path) -> None:
    source = FileSource([str(tmp_path / "shared")], stall_timeout_s=5)

    with pytest.raises(SourceRefusedError, match=r"the setting source\.folders"):
        await source.read(TaskSpec(url=f"file://{tmp_path}/other"))


async def test_a_supernode_that_is_not_there_is_told_without_the_words_of_asyncio() -> None:
    lost = asyncio.Event()
    async with aiohttp.ClientSession() as client:
        session = SessionClient(
            "127.0.0.1:1",
            client=client,
            hello=lambda: Hello(host_id="h-1", address="", protocol=0),
            on_open=lambda _: None,
            on_message=lambda _: None,
            on_lost=lost.set,
            rng=random.Random(1),
        )
        running = asyncio.ensure_future(session.run())
        await lost.wait()
        running.cancel()

    assert isinstance(session.error, SuperNodeUnreachableError)
    assert str(session.error) == "SuperNode 127.0.0.1:1 cannot be reached: connection refused"
