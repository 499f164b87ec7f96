"""Which entries of a cache a person means by a name."""

import re
from dataclasses import dataclass
from typing import Self

from damselfly.core.task import TaskSpec
from damselfly.core.urls import display_url
from damselfly.errors import TaskSpecError

_HEX_START = re.compile(r"[0-9a-f]{8,64}")  # a few digits more than chance makes equal


@dataclass(frozen=True, slots=True)
class EntryName:
    """What a person calls entries: a URL, a digest, or the start of an id.

    A URL means its own task. As it is shown, without query, it means besides all that are shown
    so: other versions of an object, contents with a tag.

    Attributes:
        text: As it was written; it may hold a secret.
        task_id: Of the task that it is the URL of; empty: it is none.
    """

    text: str
    task_id: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return what somebody wrote as a name; what is no URL is something else."""
        try:
            return cls(text, TaskSpec(url=text).task_id)
        except TaskSpecError:
            return cls(text)

    @property
    def shown(self) -> str:
        """The name without what may be secret in it."""
        return display_url(self.text) if self.task_id else self.text

    def means(self, *, edition_id: str, task_id: str, digest: str, url: str) -> bool:
        """Say whether it means an entry, by the ids of it, its digest, and its URL as shown."""
        if self.text and self.text in (url, digest):
            return True
        if self.task_id:
            return task_id == self.task_id
        lower = self.text.lower()
        if not _HEX_START.fullmatch(lower):
            return False
        return edition_id.startswith(lower) or task_id.startswith(lower)
