"""Whose imports a SuperNode takes over.

What a digest names proves itself. Whoever may name a content by a URL could pass off anything as
what that URL has, so that must be allowed first.
"""

from enum import StrEnum


class ImportPolicy(StrEnum):
    """Which imports of its hosts a SuperNode takes over."""

    NONE = "none"
    DIGEST = "digest"  # those that a digest names
    ALL = "all"  # ... and those that a URL names: each host is trusted not to lie

    def allows(self, *, is_named_by_digest: bool) -> bool:
        """Say whether an import is taken over."""
        return self is ImportPolicy.ALL or (self is ImportPolicy.DIGEST and is_named_by_digest)
