"""Container images through the daemon: each number that is promised, with its target.

    python bench/pull.py                             everything
    python bench/pull.py --parts rollout --hosts 8   a cold image on all hosts at once
    python bench/pull.py --parts direct              the same straight from the registry: slow
    python bench/pull.py --parts alone               one host, unshaped
    python bench/pull.py --parts crowd               many pulls through one daemon

`rollout` and `direct` need root: hosts are network namespaces with shaped links. The engine is
Debian's skopeo, the registry is docker-registry, and all processes are real.
"""

import argparse
import os
import platform
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import pull_alone
import pull_crowd
import pull_rollout

PARTS = {
    "direct": pull_rollout.direct,
    "rollout": pull_rollout.rollout,
    "alone": pull_alone.alone,
    "crowd": pull_crowd.crowd,
}


def main() -> None:
    """Run the parts and print their numbers."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--result", type=Path, help="also append the numbers to this file")
    parser.add_argument("--size", type=int, default=300, help="MB of the image")
    parser.add_argument("--hosts", type=int, default=16, help="of rollout and direct")
    parser.add_argument("--rate", type=int, default=80, help="Mbit/s of each host's link")
    parser.add_argument("--turns", type=int, default=3, help="of alone, to take the median of")
    parser.add_argument("--pulls", type=int, default=64, help="at once, of crowd")
    parser.add_argument("--requests", type=int, default=1000, help="at once, of crowd")
    arguments = parser.parse_args()
    kernel = platform.release().split("-")[0]
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Linux {kernel}"
    for part in arguments.parts.split(","):
        lines = [f"{part}, {datetime.now(UTC):%Y-%m-%d}, {machine}"]
        print(lines[0], flush=True)
        for line in PARTS[part](arguments):
            print(line, flush=True)
            lines.append(line)
        print(flush=True)
        if arguments.result:
            with arguments.result.open("a") as file:
                file.write("\n".join(lines) + "\n\n")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started ends
    main()
