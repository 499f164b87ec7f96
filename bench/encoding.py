"""What the SuperNode makes of each content of `datasets.py`, without a network: size and speed.

    python bench/encoding.py --size 16

One process, one thread, the blocks that a SuperNode would cut for the link's rate. `zstd -3` is
the whole content in one frame. `sample` is the CPU that the choice of the layout takes, as a share
of what it takes to send the content over that link.
"""

import argparse
import tempfile
import time
from pathlib import Path

import zstandard

from damselfly.core.blocks import block_bytes_for
from damselfly.core.compressing.link_rate import LinkRate
from damselfly.services.compressing.codec_plugins import load_codecs
from damselfly.services.compressing.compressor import HEAD_BYTES, Compressor
from damselfly.services.options import CompressionOptions
from damselfly.telemetry.metrics import Metrics
from datasets import write_all


def row(name: str, content: bytes, rate: float) -> str:
    """Return the line of one content over one link."""
    block_bytes = block_bytes_for(len(content), link_rate_bytes_per_s=rate)
    metrics = Metrics()
    codecs = load_codecs()
    compressor = Compressor(
        CompressionOptions(),
        codecs,
        link=LinkRate(assumed_bytes_per_s=rate, told_bytes_per_s=rate),
        metrics=metrics,
    )
    begun_s = time.thread_time()
    is_packed = compressor.starts_packed(content[:HEAD_BYTES])
    chosen_s = time.thread_time()
    wire_bytes = 0
    for start in range(0, len(content), block_bytes):
        block = memoryview(content)[start : start + block_bytes]
        made = compressor.compress(block) if is_packed else None
        wire_bytes += len(made[1]) if made else len(block)
    encoded_s = time.thread_time() - chosen_s
    sample_share = (chosen_s - begun_s) / (len(content) / rate)
    whole = len(zstandard.ZstdCompressor(level=3).compress(content))
    speed = f"{len(content) / 1e6 / encoded_s:8.0f}" if is_packed else "       -"
    return (
        f"{rate / 125e3:6.0f} {name:8} {'packed' if is_packed else 'plain':6} "
        f"{wire_bytes / len(content):6.3f} {whole / len(content):8.3f} {speed} {sample_share:9.3%}"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", type=int, default=16, help="MB of each content")
    parser.add_argument("--data", help="folder with contents that were made before")
    arguments = parser.parse_args()
    print("Mbit/s content  layout   wire  zstd -3     MB/s    sample")
    with tempfile.TemporaryDirectory() as made:
        folder = Path(arguments.data or made)
        paths = write_all(folder, arguments.size)
        for rate in (12.5e6, 125e6):
            for name, path in paths.items():
                print(row(name, path.read_bytes(), rate), flush=True)


if __name__ == "__main__":
    main()
