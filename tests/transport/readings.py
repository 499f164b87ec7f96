"""How the tests of a source ask it."""

from damselfly.core.task import TaskSpec, Validators
from damselfly.transport.provider import SourceAnswer, SourceReading
from damselfly.transport.sources.http import HttpSource
from fakes.source import FakeSource, random_bytes

DATA = random_bytes(100_000, seed=1)


def spec_of(fake: FakeSource, path: str = "/f") -> TaskSpec:
    return TaskSpec(url=fake.url(path))


async def read_all(
    http: HttpSource,
    spec: TaskSpec,
    *,
    start_byte: int = 0,
    stop_byte: int | None = None,
    validators: Validators = Validators(),
) -> tuple[SourceAnswer, bytes]:
    reading = await http.read(
        spec, start_byte=start_byte, stop_byte=stop_byte, validators=validators
    )
    async with reading:
        return reading.answer, await body_of(reading)


async def body_of(reading: SourceReading, *, part_bytes: int = 1000) -> bytes:
    """Read a body to its end, in parts."""
    body = bytearray()
    part = bytearray(part_bytes)
    while count := await reading.read_into(memoryview(part)):
        body += part[:count]
    return bytes(body)
