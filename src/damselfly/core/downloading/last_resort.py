"""When a download that gets nothing from anybody turns to the source, or gives up.

The SuperNode decides as long as it is there, within a budget, so that a thousand hungry hosts
do not melt the source. Without it each host waits for it a little, then goes alone.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import assert_never

from damselfly.core.downloading.events import (
    SourceAnswered,
    SourceEnded,
    SourcePermitted,
    SuperNodeBack,
    SuperNodeFailed,
    SuperNodeLost,
)
from damselfly.core.downloading.instructions import (
    AskSource,
    Fail,
    FetchFromSource,
    GiveUp,
    Instruction,
    StopSource,
)

STUCK_S = 10.0  # nothing came for so long: a stalled parent is noticed in 2 s, a dead one in 5
LOST_S = 5.0  # a SuperNode restarts in this time; the peers go on meanwhile
GIVE_UP_S = 60.0  # nothing came, and the source may not be used
ASK_AGAIN_S = 30.0  # question or answer went astray: with a network that was cut, say
SOURCE_ATTEMPTS_MAX = 2  # each has its own retries

Told = (
    SuperNodeLost | SuperNodeBack | SuperNodeFailed | SourcePermitted | SourceAnswered | SourceEnded
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What the download could do now.

    Attributes:
        missing_count: Blocks that are missing.
        first_missing: First block that nobody is being asked for.
        stop_missing: End of the run of such blocks; None is to the end of the content.
    """

    missing_count: int
    first_missing: int
    stop_missing: int | None


class LastResort:
    """Back-to-source, and giving up.

    Attributes:
        has_supernode: A session is open and the SuperNode has not given the task up.
    """

    def __init__(self, *, can_use_source: bool, now_s: float) -> None:
        self._is_permitted = can_use_source  # by the users ...
        self._is_ruled_out = False  # ... and not by the SuperNode
        self.has_supernode = True
        self._lost_s: float | None = None
        self._has_failed = False  # the SuperNode gave the task up: it only answers who may go
        self._moved_s = now_s
        self._asked_s: float | None = None
        self._ask_after_s = 0.0
        self._is_granted = False
        self._is_alone = False  # it waited for the SuperNode long enough
        self._is_reading = False
        self._failed_count = 0

    def moved(self, *, now_s: float) -> None:
        """A block came; all is well."""
        self._moved_s = now_s

    @property
    def _can_use_source(self) -> bool:
        return self._is_permitted and not self._is_ruled_out

    def take_in(self, event: Told, *, now_s: float) -> list[Instruction]:
        """Note what was told; return what must be done at once."""
        match event:
            case SuperNodeLost():
                self.has_supernode, self._has_failed, self._asked_s = False, False, None
                self._lost_s = now_s if self._lost_s is None else self._lost_s
            case SuperNodeBack():
                self.has_supernode, self._lost_s, self._asked_s = True, None, None
                self._has_failed = False
                self._is_granted = self._is_alone = False
                self._moved_s = now_s  # it gets its chance before the source does
            case SuperNodeFailed():
                self.has_supernode = False
                self._has_failed = True
                self._is_ruled_out |= not event.can_use_source
            case SourcePermitted():
                return self._on_permitted(event)
            case SourceAnswered():
                self._asked_s = None
                self._is_granted = event.is_granted
                self._ask_after_s = now_s + event.retry_after_s
            case SourceEnded():
                self._is_reading = False
                self._failed_count = 0 if event.is_ok else self._failed_count + 1
                self._moved_s = now_s if event.is_ok else self._moved_s
            case _:
                assert_never(event)
        return []

    def _on_permitted(self, event: SourcePermitted) -> list[Instruction]:
        self._is_permitted = event.is_permitted
        if event.is_permitted:
            return []
        was_reading, self._is_reading = self._is_reading, False
        self._is_granted = self._is_alone = False  # waiting for others makes sense again
        return [StopSource()] if was_reading else []

    def decide(
        self, look_out: Callable[[], Outlook], *, is_busy: bool, now_s: float
    ) -> list[Instruction]:
        """Return the step to take now; nothing while things move.

        Args:
            look_out: Returns what could be done; costly, so asked only when it matters.
            is_busy: Some fetch runs.
            now_s: The time.
        """
        if self._is_reading or is_busy:
            return []
        quiet_s = now_s - self._moved_s
        has_spent_all = self._failed_count >= SOURCE_ATTEMPTS_MAX
        if self.has_supernode and quiet_s < STUCK_S and not (self._is_granted or has_spent_all):
            return []  # so it is nearly always
        outlook = look_out()
        if has_spent_all:
            return [self._fail(GiveUp.SOURCE_FAILED, outlook)]
        if self._is_granted:
            return self._go(outlook)
        if self._has_failed:
            return self._ask_for_all(outlook, now_s)
        if self.has_supernode:
            return self._ask(outlook, quiet_s, now_s)
        return self._go_alone(outlook, quiet_s, now_s)

    def _go_alone(self, outlook: Outlook, quiet_s: float, now_s: float) -> list[Instruction]:
        assert self._lost_s is not None
        if not self._is_alone and min(quiet_s, now_s - self._lost_s) < LOST_S:
            return []
        if self._can_use_source:
            self._is_alone = True
            return self._go(outlook)
        return [self._fail(GiveUp.SUPERNODE_LOST, outlook)] if quiet_s >= GIVE_UP_S else []

    def _ask(self, outlook: Outlook, quiet_s: float, now_s: float) -> list[Instruction]:
        if not self._can_use_source:
            return [self._fail(GiveUp.NO_HOLDER, outlook)] if quiet_s >= GIVE_UP_S else []
        return self._ask_once(f"nothing came for {quiet_s:.0f} s", now_s)

    def _ask_for_all(self, outlook: Outlook, now_s: float) -> list[Instruction]:
        """Ask at once: a thousand hosts whose SuperNode has a full disk are a storm, too."""
        if not self._can_use_source:
            return [self._fail(GiveUp.SOURCE_FORBIDDEN, outlook)]
        return self._ask_once("the SuperNode gave the task up", now_s)

    def _ask_once(self, reason: str, now_s: float) -> list[Instruction]:
        is_asking = self._asked_s is not None and now_s - self._asked_s < ASK_AGAIN_S
        if is_asking or now_s < self._ask_after_s:
            return []
        self._asked_s = now_s
        return [AskSource(reason=reason)]

    def _go(self, outlook: Outlook) -> list[Instruction]:
        if not self._can_use_source:
            return [self._fail(GiveUp.SOURCE_FORBIDDEN, outlook)]
        self._is_reading = True
        return [FetchFromSource(first_index=outlook.first_missing, stop_index=outlook.stop_missing)]

    @staticmethod
    def _fail(reason: GiveUp, outlook: Outlook) -> Fail:
        return Fail(reason=reason, missing_count=outlook.missing_count)
