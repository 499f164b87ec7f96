"""Packed blocks that are wrong are refused and do no harm; bench/fuzz_blocks.py runs longer."""

import contextlib
import random
import resource
from pathlib import Path

import blake3
import pytest

from fuzz import block_mutations

COUNT = 4000
MEMORY_BYTES_MAX = 200 << 20  # the frames that promise the moon take a third of it to be made


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


@pytest.mark.parametrize("seed", range(3))
def test_wrong_blocks_are_refused_or_still_the_block(seed: int) -> None:
    with contextlib.suppress(OSError):  # what tests before took at most hides nothing, on Linux
        Path("/proc/self/clear_refs").write_text("5")
    before_bytes = peak_bytes()

    tally = block_mutations.run(COUNT, seed)

    after_bytes = peak_bytes()
    assert tally.accepted + tally.refused.total() == COUNT
    assert len(tally.refused) > 15  # it gets into each corner
    assert tally.accepted < COUNT // 20
    assert after_bytes - before_bytes < MEMORY_BYTES_MAX


def test_right_blocks_are_read() -> None:
    mutator = block_mutations.Mutator(random.Random(0))

    for sample in mutator.samples:
        digest = blake3.blake3(sample.plain).digest()
        assert block_mutations.read(sample.packed, sample.key, digest) == sample.plain
