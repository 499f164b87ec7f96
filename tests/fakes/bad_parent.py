"""A relay before a real daemon that spoils the blocks it gives; all else passes untouched."""

import asyncio
from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING, Self

import crc32c
import zstandard

from damselfly.wire.codecs.zstd import CODEC_ID
from damselfly.wire.packed_block import HEADER_BYTES, TRAILER_BYTES, PackedHeader, trailer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

PIECE_BYTES = 64 << 10


class Fault(StrEnum):
    """What it does with a block."""

    FLIP = "flip"  # one byte is another one, and the checksum tells
    LIE = "lie"  # other bytes with a right checksum: only the digest tells
    SWAP = "swap"  # the body of another block under this one's header, with a right checksum
    RENAME = "rename"  # the same body under another key id, with a right checksum
    BOMB = "bomb"  # a zstd frame that inflates to a gigabyte
    LONGER = "longer"  # a zstd frame with one byte more than the block
    DICTIONARY = "dictionary"  # a zstd frame that needs a dictionary
    STALL = "stall"  # half of it, then nothing
    CLOSE = "close"  # half of it, then the end
    NONE = "none"


FRAMES = (Fault.BOMB, Fault.LONGER, Fault.DICTIONARY)


def _framed(fault: Fault, answer: bytearray) -> bytes:
    """Return a packed block with a zstd body that no child can take, all else being right."""
    plain = bytes(answer[HEADER_BYTES:-TRAILER_BYTES])
    compressor = zstandard.ZstdCompressor(level=1)
    if fault is Fault.BOMB:
        body = compressor.compress(bytes(1 << 30))
    elif fault is Fault.LONGER:
        body = compressor.compress(bytes(len(plain) + 1))
    else:
        samples: list[bytes | bytearray | memoryview] = [
            b"block %d, block %d" % (i, 7 * i) for i in range(2000)
        ]
        words = zstandard.train_dictionary(4096, samples)
        body = zstandard.ZstdCompressor(dict_data=words).compress(bytes(len(plain)))
    known = PackedHeader.decode(answer, codecs=range(256))
    header = replace(known, codec=CODEC_ID, body_bytes=len(body)).encode()
    return header + body + trailer(header, crc32c.crc32c(body))


class BadParent:
    """Listens where a daemon says that it listens, and relays to where it does.

    Attributes:
        address: For the daemon's `--advertise`.
        target: Where the daemon listens; set it once it runs.
        spoiled_count: Blocks that were spoiled.
        on_block: Called before a block is given.
    """

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.address = ""
        self.target = ""
        self.spoiled_count = 0
        self.on_block: Callable[[], Awaitable[None]] | None = None
        self._last_body = b""
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        host, port = self._server.sockets[0].getsockname()
        self.address = f"{host}:{port}"
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._relay(reader, writer)
        except* (OSError, EOFError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        host, _, port = self.target.rpartition(":")
        to_parent = await asyncio.open_connection(host, int(port))
        parent_reader, parent_writer = to_parent
        try:
            if b"/blocks/" not in head.partition(b"\r\n")[0]:
                parent_writer.write(head)
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(_pipe(reader, parent_writer))
                    tasks.create_task(_pipe(parent_reader, writer))
                return
            while True:
                parent_writer.write(head)
                if self.on_block is not None:
                    await self.on_block()
                await self._give_block(parent_reader, writer)
                head = await reader.readuntil(b"\r\n\r\n")
        finally:
            parent_writer.close()

    async def _give_block(self, parent: asyncio.StreamReader, child: asyncio.StreamWriter) -> None:
        head = await parent.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        answer = bytearray(await parent.readexactly(length))
        if self.fault in FRAMES:
            answer = bytearray(_framed(self.fault, answer))
            told = f"content-length: {length}".encode()
            head = head.lower().replace(told, f"content-length: {len(answer)}".encode())
            self.spoiled_count += 1
            child.write(head + answer)
            await child.drain()
            return
        child.write(head)
        if self.fault is not Fault.NONE and length > HEADER_BYTES + TRAILER_BYTES:
            self.spoiled_count += 1
            await self._spoil(answer, child)
        child.write(answer)
        await child.drain()

    async def _spoil(self, answer: bytearray, child: asyncio.StreamWriter) -> None:
        match self.fault:
            case Fault.FLIP:
                answer[len(answer) // 2] ^= 1
            case Fault.LIE:
                answer[len(answer) // 2] ^= 1
                header, body = answer[:HEADER_BYTES], answer[HEADER_BYTES:-TRAILER_BYTES]
                answer[-TRAILER_BYTES:] = trailer(bytes(header), crc32c.crc32c(body))
            case Fault.SWAP:
                header, body = answer[:HEADER_BYTES], answer[HEADER_BYTES:-TRAILER_BYTES]
                other = self._last_body or bytes(reversed(body))
                self._last_body = bytes(body)
                answer[HEADER_BYTES:-TRAILER_BYTES] = other[: len(body)].ljust(len(body), b"x")
                body = answer[HEADER_BYTES:-TRAILER_BYTES]
                answer[-TRAILER_BYTES:] = trailer(bytes(header), crc32c.crc32c(body))
            case Fault.RENAME:
                answer[HEADER_BYTES - 1] ^= 1
                header, body = answer[:HEADER_BYTES], answer[HEADER_BYTES:-TRAILER_BYTES]
                answer[-TRAILER_BYTES:] = trailer(bytes(header), crc32c.crc32c(body))
            case Fault.STALL | Fault.CLOSE:
                child.write(answer[: len(answer) // 2])
                await child.drain()
                if self.fault is Fault.STALL:
                    await asyncio.Event().wait()
                raise EOFError
            case Fault.NONE | Fault.BOMB | Fault.LONGER | Fault.DICTIONARY:
                pass


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(PIECE_BYTES):
        writer.write(data)
        await writer.drain()
    writer.close()
