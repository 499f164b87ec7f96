"""What every kind of source promises; each runs this whole class as its own tests.

A subclass has the fixture `shelf`: a real server of its kind, and our source that asks it.
"""

from typing import Protocol

import pytest

from damselfly.core.bundling import BundleAddress
from damselfly.core.members import Member
from damselfly.core.task import TaskSpec, Validators
from damselfly.errors import SourceChangedError, SourceRefusedError
from damselfly.transport.provider import SourceAnswer
from damselfly.transport.sources.by_scheme import Sources
from damselfly.wire.bundles import listing_bytes_told, members_told
from damselfly.wire.listings import decode_listing
from fakes.source import random_bytes
from transport.readings import body_of

DATA = random_bytes(300_000, seed=5)
OTHER = random_bytes(200_000, seed=6)


class Shelf(Protocol):
    """A server into which a test puts contents, and the sources that read them.

    Attributes:
        sources: They know the server, and have what it wants of them.
    """

    sources: Sources

    async def put(self, name: str, data: bytes) -> TaskSpec:
        """Put a content under a name, instead of what was there; return how to ask for it."""

    def spec(self, name: str) -> TaskSpec:
        """Return how to ask for a name; empty: for all of them."""

    def stranger(self, name: str) -> TaskSpec | None:
        """Return how somebody asks whom the server must refuse; None: it refuses nobody."""


class SourceContract:
    """The promises."""

    async def test_the_whole_comes_and_ends(self, shelf: Shelf) -> None:
        spec = await shelf.put("whole", DATA)

        answer, data = await read(shelf, spec)

        assert data == DATA
        assert (answer.status, answer.size_bytes, answer.start_byte) == (200, len(DATA), 0)
        assert answer.validators.has_any
        assert answer.accepts_ranges

    async def test_an_empty_content_is_read(self, shelf: Shelf) -> None:
        spec = await shelf.put("empty", b"")

        answer, data = await read(shelf, spec)

        assert (answer.size_bytes, data) == (0, b"")

    @pytest.mark.parametrize(("start", "stop"), [(0, 1), (7, 100_000), (200_000, None)])
    async def test_a_part_is_read(self, shelf: Shelf, start: int, stop: int | None) -> None:
        spec = await shelf.put("part", DATA)

        answer, data = await read(shelf, spec, start_byte=start, stop_byte=stop)

        assert data == DATA[start:stop]
        assert (answer.status, answer.size_bytes) == (206, len(DATA))
        assert (answer.start_byte, answer.stop_byte) == (start, stop or len(DATA))

    async def test_a_part_of_what_is_the_same_is_given(self, shelf: Shelf) -> None:
        spec = await shelf.put("same", DATA)
        known, _ = await read(shelf, spec)

        answer, data = await read(shelf, spec, start_byte=9, validators=known.validators)

        assert (answer.status, data) == (206, DATA[9:])
        assert is_same(answer.validators, known.validators)

    async def test_a_part_of_what_has_changed_shows_other_validators(self, shelf: Shelf) -> None:
        spec = await shelf.put("changed", DATA)
        known, _ = await read(shelf, spec)
        await shelf.put("changed", OTHER)

        answer, data = await read(shelf, spec, start_byte=9, validators=known.validators)

        assert data == (OTHER if answer.status == 200 else OTHER[9:])
        assert not is_same(answer.validators, known.validators)

    async def test_what_is_the_same_is_confirmed(self, shelf: Shelf) -> None:
        spec = await shelf.put("fresh", DATA)
        known, _ = await read(shelf, spec)

        answer = await shelf.sources.validate(spec, known.validators)

        assert answer.status in (200, 304)
        assert answer.status == 304 or is_same(answer.validators, known.validators)

    async def test_what_has_changed_is_not_confirmed(self, shelf: Shelf) -> None:
        spec = await shelf.put("stale", DATA)
        known, _ = await read(shelf, spec)
        await shelf.put("stale", OTHER)

        answer = await shelf.sources.validate(spec, known.validators)

        assert answer.status == 200
        assert not is_same(answer.validators, known.validators)

    async def test_what_is_not_there_is_refused(self, shelf: Shelf) -> None:
        with pytest.raises(SourceRefusedError) as caught:
            await read(shelf, shelf.spec("nothing"))

        assert caught.value.status == 404
        assert (await shelf.sources.authorise(shelf.spec("nothing"))).status == 404

    async def test_a_requester_that_may_read_is_accepted(self, shelf: Shelf) -> None:
        spec = await shelf.put("allowed", DATA)

        answer = await shelf.sources.authorise(spec)

        assert answer.status in (200, 206)

    async def test_a_stranger_is_refused(self, shelf: Shelf) -> None:
        allowed = await shelf.put("secret", DATA)
        spec = shelf.stranger("secret")
        if spec is None:
            return  # this server refuses nobody
        async with await shelf.sources.read(allowed) as reading:
            await reading.read_into(memoryview(bytearray(10)))

            answer = await shelf.sources.authorise(spec)  # what is open for another is not for it
            with pytest.raises(SourceRefusedError):
                await read(shelf, spec)

            assert await body_of(reading, part_bytes=70_000) == DATA[10:]
        assert answer.status in (401, 403)

    async def test_two_read_the_same_at_once(self, shelf: Shelf) -> None:
        spec = await shelf.put("shared", DATA)

        async with await shelf.sources.read(spec) as first:
            await first.read_into(memoryview(bytearray(10)))
            _, data = await read(shelf, spec)
            rest = await body_of(first, part_bytes=70_000)

        assert (data, rest) == (DATA, DATA[10:])

    async def test_leaving_a_reading_midway_leaves_the_source_usable(self, shelf: Shelf) -> None:
        spec = await shelf.put("left", DATA)
        async with await shelf.sources.read(spec) as reading:
            await reading.read_into(memoryview(bytearray(10)))

        _, data = await read(shelf, spec, start_byte=5, stop_byte=10)

        assert data == DATA[5:10]

    async def test_what_lies_below_is_listed_as_a_content(self, shelf: Shelf) -> None:
        await shelf.put("below/b", DATA)
        await shelf.put("below/deep/a b", OTHER)
        spec = shelf.spec("below/")
        asked = TaskSpec(url=f"list+{spec.url}", headers=spec.headers)

        answer, data = await read(shelf, asked)

        listed = {member.path: member for member in decode_listing(data)}
        assert listed.keys() == {"b", "deep/a b"}
        assert [await self.content_of(shelf, listed[path]) for path in sorted(listed)] == [
            DATA,
            OTHER,
        ]
        assert (await shelf.sources.authorise(asked)).validators == answer.validators

    @pytest.mark.parametrize(("start", "stop"), [(0, None), (1500, 3200), (5, None), (2900, 2901)])
    async def test_small_files_are_read_as_one(
        self, shelf: Shelf, start: int, stop: int | None
    ) -> None:
        small = {f"small/{name}": random_bytes(700, seed=name) for name in range(20)}
        small["small/deep/empty"] = b""
        for name, data in small.items():
            await shelf.put(name, data)
        spec = shelf.spec("small/")
        url = BundleAddress(folder_url=spec.url, exclude=("7",)).url
        asked = TaskSpec(url=url, headers=spec.headers)
        if not await self.tells_lengths(shelf):
            return  # files of unknown length cannot travel together

        whole, data = await read(shelf, asked)
        answer, part = await read(
            shelf, asked, start_byte=start, stop_byte=stop, validators=whole.validators
        )

        assert part == data[start:stop]
        assert answer.validators == whole.validators
        assert is_same(
            (await shelf.sources.validate(asked, whole.validators)).validators, whole.validators
        )
        assert (await shelf.sources.authorise(asked)).status == 200
        count = listing_bytes_told(data[:8])
        members = members_told(data[8 : 8 + count])
        bodies = "".join(f"small/{member.path} " for member in members)
        assert bodies.split() == sorted(name for name in small if name != "small/7")
        assert data[8 + count :] == b"".join(small[f"small/{each.path}"] for each in members)

    async def tells_lengths(self, shelf: Shelf) -> bool:
        members = await shelf.sources.list_below(shelf.spec("small/"))
        return all(member.size_bytes is not None for member in members)

    async def content_of(self, shelf: Shelf, member: Member) -> bytes:
        """Read a file of a listing, whose length must be as listed."""
        _, data = await read(shelf, TaskSpec(url=member.url, headers=shelf.spec("").headers))
        assert member.size_bytes in (None, len(data))
        return data


class FileContract(SourceContract):
    """What those promise besides whose files may be changed while they are read."""

    async def test_what_changes_while_it_is_read_is_not_given_as_one(self, shelf: Shelf) -> None:
        old, new = (random_bytes(12_000_000, seed=seed) for seed in (7, 8))
        spec = await shelf.put("moving", old)

        async with await shelf.sources.read(spec) as reading:
            start = bytearray(1_000_000)
            await reading.read_into(memoryview(start))
            await shelf.put("moving", new)
            with pytest.raises(SourceChangedError):
                await body_of(reading, part_bytes=1_000_000)


def is_same(one: Validators, other: Validators) -> bool:
    return one == other or bool(one.etag and one.etag == other.etag)


async def read(
    shelf: Shelf,
    spec: TaskSpec,
    *,
    start_byte: int = 0,
    stop_byte: int | None = None,
    validators: Validators = Validators(),
) -> tuple[SourceAnswer, bytes]:
    reading = await shelf.sources.read(
        spec, start_byte=start_byte, stop_byte=stop_byte, validators=validators
    )
    async with reading:
        body = await body_of(reading, part_bytes=70_000)
        assert await reading.read_into(memoryview(bytearray(1))) == 0
        return reading.answer, body
