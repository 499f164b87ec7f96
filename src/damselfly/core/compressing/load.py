"""Whether the machine has CPU to spare for compression, with hysteresis.

It stops as soon as one of three measures is above its limit, and begins again when all are
below three quarters of theirs: what it costs itself must not make it flutter.
"""

from dataclasses import dataclass
from typing import Final

RESUME_SHARE: Final = 0.75
ENCODE_QUEUE: Final = "encode_queue"


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """How busy the machine is.

    Attributes:
        cpu_share: Of its CPUs' time, by all others than the compression, 0 to 1.
        run_queue: Threads that want a CPU, for each CPU.
        encode_queue: Blocks that wait to be compressed or stored.
    """

    cpu_share: float
    run_queue: float
    encode_queue: int


class LoadGate:
    """Open: blocks are compressed.

    Args:
        limits: Above one of them it closes.

    Attributes:
        is_open: Whether it is.
        reason: What closed it; empty while it is open.
    """

    def __init__(self, limits: Load) -> None:
        self._limits = limits
        self.is_open = True
        self.reason = ""

    def look(self, load: Load) -> bool:
        """Take in how busy the machine is now; return whether the gate is open."""
        share = 1.0 if self.is_open else RESUME_SHARE
        self.reason = self._too_high(load, share)
        self.is_open = not self.reason
        return self.is_open

    def _too_high(self, load: Load, share: float) -> str:
        limits = self._limits
        if load.encode_queue > limits.encode_queue * share:
            return ENCODE_QUEUE
        if load.cpu_share > limits.cpu_share * share:
            return "cpu"
        if load.run_queue > limits.run_queue * share:
            return "run_queue"
        return ""
