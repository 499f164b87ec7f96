"""Frames of blocks that are stored, and wait in memory for their turn in the hash of the whole.

They are only a convenience: whoever waits for a frame gets these first, and what was in them is
read again in its turn.
"""

from damselfly.services.seeding.whole_hasher import WholeHasher  # noqa: TC001  # as in all modules
from damselfly.transport.frames import Frames


class EarlyFrames:
    """Those of one download.

    Attributes:
        hasher: Hashes the whole, if that is wanted.
    """

    def __init__(self, frames: Frames) -> None:
        self._frames = frames
        self.hasher: WholeHasher | None = None
        self._kept: list[tuple[int, bytearray]] = []  # (block, its frame)

    def hash_along(self, block_index: int, body: memoryview, *, is_framed: bool) -> bool:
        """Hash a block that was just stored, in a thread; say whether to `keep` its frame.

        Args:
            block_index: The block.
            body: Its plain bytes.
            is_framed: They lie in its frame, and not in memory of their own.
        """
        if self.hasher is None:
            return False
        if is_framed:
            return self.hasher.hash_or_keep(block_index, body)
        self.hasher.hash_along(block_index, body)
        return False

    def keep(self, block_index: int, frame: bytearray) -> None:
        """Keep a frame until its block is hashed, or somebody waits for memory."""
        self._kept.append((block_index, frame))
        self._frames.keepers.add(self.let_go)

    def give_back_hashed(self) -> None:
        """Give back those that have been hashed meanwhile."""
        if not self._kept:
            return
        assert self.hasher is not None
        kept, self._kept = self._kept, []
        for block_index, frame in kept:
            if self.hasher.is_past(block_index):
                self._frames.give_back(frame)
            else:
                self._kept.append((block_index, frame))
        if not self._kept:
            self._frames.keepers.discard(self.let_go)

    def let_go(self) -> None:
        """Give all back; one that is being hashed just now is not filled again."""
        kept, self._kept = self._kept, []
        self._frames.keepers.discard(self.let_go)
        for block_index, frame in kept:
            assert self.hasher is not None
            self._frames.give_back(frame, is_reusable=self.hasher.forget(block_index))
