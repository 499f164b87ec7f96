"""When peers are told of blocks that are held now: at once, or with others of the moment.

News is told at once when there was none for a while, else gathered: the study found that a
batch of 2 to 4 block times costs nothing measurable, and each message costs CPU at both ends.
"""

BATCH_S = 0.15
BATCH_BLOCKS = 2


class News:
    """The blocks of one edition that were stored and not told yet."""

    __slots__ = (
        "_indices",
        "_told_s",
    )

    def __init__(self) -> None:
        self._indices: list[int] = []
        self._told_s = float("-inf")

    def add(self, block_index: int, *, now_s: float) -> float | None:
        """A block is held; return after how many seconds to `take`, None: somebody will."""
        self._indices.append(block_index)
        if len(self._indices) == BATCH_BLOCKS:
            return 0.0
        return max(self._told_s + BATCH_S - now_s, 0.0) if len(self._indices) == 1 else None

    def take(self, *, now_s: float) -> tuple[int, ...]:
        """Return what is to be told now; nothing when somebody was quicker."""
        indices, self._indices = tuple(self._indices), []
        if indices:
            self._told_s = now_s
        return indices
