"""Sources are asked within their budgets, and left alone while they are ill; who waits is told."""

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from damselfly.clock import now_s
from damselfly.core.budgeting import BudgetRule
from damselfly.core.bundling import BundleAddress
from damselfly.core.task import TaskSpec, Validators
from damselfly.errors import SourceError, SourceIllError, SourceRefusedError
from damselfly.services.options import SourceOptions
from damselfly.services.seeding.asking import Asking
from damselfly.services.seeding.budgeted import BudgetedSource, Budgets
from damselfly.services.sources import open_sources
from damselfly.telemetry.metrics import Metrics
from damselfly.transport.sources.accounts import Accounts
from damselfly.transport.sources.http import HttpSource
from damselfly.transport.sources.kinds.web import WebSource
from damselfly.wire.local_messages import DownloadRequest
from fakes.source import FakeSource
from services.hosts import a_host, a_supernode
from storage.builders import a_content

DATA = a_content(300_000)


@pytest.fixture
async def fake() -> AsyncIterator[FakeSource]:
    async with FakeSource() as source:
        yield source


@pytest.fixture
async def http() -> AsyncIterator[HttpSource]:
    source = HttpSource(connect_timeout_s=2, stall_timeout_s=5, connections_max=16)
    yield source
    await source.close()


def a_budget(
    http: HttpSource, *rules: BudgetRule, minute: int = 0, **limits: int
) -> BudgetedSource:
    failures_max = limits.get("failures_max", 3)
    budgets = Budgets(rules, failures_max=failures_max, pause_s=0.2, minute=lambda: minute)
    return BudgetedSource(WebSource(http, Accounts()), budgets)


async def read_all(source: BudgetedSource, spec: TaskSpec) -> bytes:
    async with await source.read(spec) as reading:
        buffer = bytearray(1 << 20)
        count = await reading.read_into(memoryview(buffer))
        return bytes(buffer[:count])


async def test_so_many_at_a_time_read_from_a_source_and_the_others_wait(
    fake: FakeSource, http: HttpSource
) -> None:
    content = fake.add("/f", DATA, stall_after_bytes=1000)
    source = a_budget(http, BudgetRule(hosts="127.0.0.1", connections_max=2))
    spec = TaskSpec(url=fake.url("/f"))

    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(read_all(source, spec)) for _ in range(5)]
        await content.has_stalled.wait()
        await asyncio.sleep(0.2)
        assert len(fake.requests) <= 2
        content.release()

    assert [each.result() for each in running] == [DATA] * 5


async def test_who_gives_up_waiting_leaves_the_line_to_others(
    fake: FakeSource, http: HttpSource
) -> None:
    content = fake.add("/f", DATA, stall_after_bytes=1000)
    source = a_budget(http, BudgetRule(connections_max=1))
    spec = TaskSpec(url=fake.url("/f"))
    first = asyncio.ensure_future(read_all(source, spec))
    await content.has_stalled.wait()
    second = asyncio.ensure_future(read_all(source, spec))
    third = asyncio.ensure_future(source.validate(spec, Validators()))
    await asyncio.sleep(0.05)

    second.cancel()
    content.release()

    assert await first == DATA
    assert (await third).status == 200
    assert (await source.authorise(spec)).status == 200


async def test_who_wants_all_of_something_does_not_wait_for_all_parts_of_another(
    fake: FakeSource, http: HttpSource
) -> None:
    content = fake.add("/large", DATA, stall_after_bytes=1000)
    fake.add("/short", b"short")
    source = a_budget(http, BudgetRule(connections_max=1))
    large, short = TaskSpec(url=fake.url("/large")), TaskSpec(url=fake.url("/short"))

    async def part(start: int) -> None:
        async with await source.read(large, start_byte=start) as reading:
            await reading.read_into(memoryview(bytearray(len(DATA))))

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(part(0))
        await content.has_stalled.wait()
        for start in range(1000, 9000, 1000):
            tasks.create_task(part(start))
        await asyncio.sleep(0)
        tasks.create_task(read_all(source, short))
        await asyncio.sleep(0)
        content.release()

    assert "/short" in [each.path for each in fake.requests[:3]]
    assert len(fake.requests) == 10


async def test_who_waits_for_long_keeps_its_place(
    fake: FakeSource, http: HttpSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Who looked again whether other hours had come went to the end of the line.
    monkeypatch.setattr("damselfly.services.seeding.budgeted.LOOK_S", 0.2)
    content = fake.add("/f", DATA, stall_after_bytes=1000)
    for path in ("/first", "/second"):
        fake.add(path, DATA)
    source = a_budget(http, BudgetRule(connections_max=1))

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(read_all(source, TaskSpec(url=fake.url("/f"))))
        await content.has_stalled.wait()
        for path, wait_s in (("/first", 0.15), ("/second", 0.1)):  # only the first looks again
            tasks.create_task(read_all(source, TaskSpec(url=fake.url(path))))
            await asyncio.sleep(wait_s)
        content.release()

    assert [each.path for each in fake.requests] == ["/f", "/first", "/second"]


async def test_bytes_come_no_faster_than_the_budget_allows(
    fake: FakeSource, http: HttpSource
) -> None:
    fake.add("/f", DATA)
    source = a_budget(http, BudgetRule(rate_bytes_per_s=600_000))
    started_s = now_s()

    assert await read_all(source, TaskSpec(url=fake.url("/f"))) == DATA

    assert now_s() - started_s > 0.35


async def test_other_hours_have_other_budgets(fake: FakeSource, http: HttpSource) -> None:
    fake.add("/f", DATA)
    slow = BudgetRule(hours="08:00-18:00", rate_bytes_per_s=10.0)
    source = a_budget(http, slow, minute=20 * 60)

    async with asyncio.timeout(5):
        assert await read_all(source, TaskSpec(url=fake.url("/f"))) == DATA


async def test_a_source_that_fails_is_left_alone_and_then_tried(
    fake: FakeSource, http: HttpSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    moment_s = 1000.0
    monkeypatch.setattr("damselfly.services.seeding.budgeted.now_s", lambda: moment_s)
    fake.add("/f", DATA, status=503, status_count=3)
    source = a_budget(http)
    spec = TaskSpec(url=fake.url("/f"))
    with pytest.raises(SourceRefusedError):
        await source.read(spec)
    assert (await source.authorise(spec)).status == 503
    assert (await source.validate(spec, Validators())).status == 503
    asked = len(fake.requests)

    with pytest.raises(SourceIllError, match=r"it answered 503.*tried again in 1 s") as caught:
        await source.read(spec)

    assert len(fake.requests) == asked
    assert caught.value.http_headers == (("Retry-After", "1"),)
    moment_s += 0.25
    assert await read_all(source, spec) == DATA


async def test_a_refusal_is_no_illness(fake: FakeSource, http: HttpSource) -> None:
    source = a_budget(http)

    for _ in range(5):
        with pytest.raises(SourceRefusedError):
            await source.read(TaskSpec(url=fake.url("/nothing")))


async def test_with_zero_failures_no_source_is_ever_left_alone(
    fake: FakeSource, http: HttpSource
) -> None:
    fake.add("/f", DATA, status=500)
    source = a_budget(http, failures_max=0)

    for _ in range(12):
        with pytest.raises(SourceRefusedError):
            await source.read(TaskSpec(url=fake.url("/f")))


@pytest.mark.parametrize("status", [429, 503])
async def test_a_source_that_asks_for_a_pause_gets_it(
    fake: FakeSource, http: HttpSource, status: int
) -> None:
    fake.add("/f", DATA, status=status, status_count=2, headers={"Retry-After": "7"})
    pauses: list[float] = []

    async def sleep(pause_s: float) -> None:
        pauses.append(pause_s)

    asking = Asking(
        a_budget(http),
        SourceOptions(),
        link_rate_bytes_per_s=1e9,
        metrics=Metrics(),
        rng=random.Random(1),
        sleep=sleep,
    )

    async with await asking.ask(TaskSpec(url=fake.url("/f"))) as reading:
        size_bytes = reading.answer.size_bytes

    assert (size_bytes, pauses) == (len(DATA), [7.0, 7.0])


# --- through a SuperNode


@pytest.mark.slow
async def test_who_waits_for_an_ill_source_is_told_which_and_until_when(
    fake: FakeSource, tmp_path: Path
) -> None:
    fake.add("/f", DATA, status=500)
    options = SourceOptions(retries_max=5, ill_after=3, ill_pause_s=60)
    async with (
        a_supernode(tmp_path, options) as supernode,
        a_host(tmp_path, "a", supernode) as host,
    ):
        request = DownloadRequest(url=fake.url("/f"))
        with pytest.raises(SourceError) as caught:
            await host.downloads.get(request, lambda _: None)

    assert isinstance(caught.value, SourceIllError)
    assert fake.url("/f") in str(caught.value)
    assert "it answered 500" in str(caught.value)
    assert len(fake.requests) == 3


@pytest.mark.slow
async def test_a_pause_that_is_too_long_is_told_instead_of_waited_for(
    fake: FakeSource, tmp_path: Path
) -> None:
    fake.add("/f", DATA, status=503, headers={"Retry-After": "3600"})
    async with (
        a_supernode(tmp_path) as supernode,
        a_host(tmp_path, "a", supernode) as host,
    ):
        with pytest.raises(SourceRefusedError):
            await host.downloads.get(DownloadRequest(url=fake.url("/f")), lambda _: None)

    assert len(fake.requests) == 1


async def test_each_file_of_a_bundle_counts_as_a_connection(fake: FakeSource) -> None:
    names = [f"f{number:02}" for number in range(20)]
    for name in names:
        fake.add(f"/top/{name}", DATA[:5_000], rate_bytes_per_s=200_000)
    page = "".join(f'<a href="{name}">{name}</a> 01-Jan-2025 00:00 5000\n' for name in names)
    fake.add("/top/", page.encode())
    source = open_sources(
        SourceOptions(budgets=(BudgetRule(hosts="127.0.0.1", connections_max=3),)), ()
    )
    bundle = BundleAddress(folder_url=fake.url("/top/")).url

    async with await source.read(TaskSpec(url=bundle)) as reading:
        body = bytearray(reading.answer.size_bytes or 0)
        assert await reading.read_into(memoryview(body)) == len(body)

    assert body.endswith(DATA[:5_000] * 20)
    assert fake.answering_max <= 3
    await source.close()


async def test_each_page_of_a_listing_counts_as_a_connection(fake: FakeSource) -> None:
    folders = [f"d{number}/" for number in range(8)]
    fake.add("/top/", "".join(f'<a href="{each}">{each}</a>\n' for each in folders).encode())
    page = b'<a href="f">f</a> 01-Jan-2025 00:00 5\n' + b" " * 5_000
    for each in folders:
        fake.add(f"/top/{each}", page, rate_bytes_per_s=50_000)
    source = open_sources(
        SourceOptions(budgets=(BudgetRule(hosts="127.0.0.1", connections_max=2),)), ()
    )

    members = await source.list_below(TaskSpec(url=fake.url("/top/")))

    assert sorted(each.path for each in members) == [f"{each}f" for each in folders]
    assert fake.answering_max == 2
    await source.close()
