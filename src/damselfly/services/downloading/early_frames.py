"""Frames of blocks that are stored, and wait in memory until the whole has been hashed so far.

They are only a convenience: whoever waits for a frame gets these first, and what was in them is
read again in its turn.
"""

from functools import partial

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
        self._kept: dict[int, memoryview] = {}  # {block: its frame}

    def hash_soon(self, block_index: int, plain: memoryview, frame: memoryview | None) -> bool:
        """Hash a block that was just stored where it lies; say whether its frame is kept for that.

        Args:
            block_index: The block.
            plain: Its plain bytes.
            frame: In which they lie; None: they have memory of their own.
        """
        if self.hasher is None:
            return False
        if frame is None:
            self.hasher.hash_soon(block_index, plain, lambda: None)
            return False
        give_back = partial(self._give_back, block_index)
        if not self.hasher.hash_soon(block_index, plain, give_back, can_wait=True):
            return False
        self._kept[block_index] = frame
        self._frames.keepers.add(self.let_go)
        return True

    def _give_back(self, block_index: int) -> None:
        """A block was hashed; its frame may be gone already."""
        if (frame := self._kept.pop(block_index, None)) is not None:
            self._frames.give_back(frame)
        if not self._kept:
            self._frames.keepers.discard(self.let_go)

    def let_go(self) -> None:
        """Give all back; one that is being hashed just now is not filled again."""
        kept, self._kept = self._kept, {}
        self._frames.keepers.discard(self.let_go)
        for block_index, frame in kept.items():
            assert self.hasher is not None
            self._frames.give_back(frame, is_reusable=self.hasher.forget(block_index))
