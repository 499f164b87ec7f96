"""The paths of a registry: `/v2/<name>/{manifests,blobs,referrers,tags}/…`.

Strict: what the OCI distribution specification does not have is an error, so that no trick
in a path (`..`, `%2e`, empty parts) leads anywhere at the registry or at the mirror.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from damselfly.core.digest import Digest
from damselfly.errors import RegistryPathError, TaskSpecError

NAME_CHARS_MAX: Final = 255  # OCI distribution: many clients limit name and host to it
PATH_CHARS_MAX: Final = 1024  # a name, a word, and the longest reference

_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_NAME = re.compile(rf"{_PART}(?:/{_PART})*")
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")
_REGISTRY_PART = re.compile(r"(localhost|[a-z0-9-]+(?:\.[a-z0-9-]+)+)(?:_([0-9]{1,5}))?")
_REGISTRY = re.compile(
    r"([a-z0-9](?:[a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?", re.IGNORECASE
)


class Kind(StrEnum):
    """What a path is about."""

    BASE = "base"  # `/v2/`: is this a registry, and what does it want of me?
    MANIFEST = "manifests"
    BLOB = "blobs"
    REFERRERS = "referrers"
    TAGS = "tags"


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryPath:
    """A path that means something.

    Attributes:
        kind: What it is about.
        name: The repository; empty of the base.
        tag: The tag of a manifest that is asked for by tag; else empty.
        digest: The digest that is asked for, or about.
    """

    kind: Kind
    name: str = ""
    tag: str = ""
    digest: Digest | None = None

    def __str__(self) -> str:
        if self.kind is Kind.BASE:
            return "/v2/"
        reference = "list" if self.kind is Kind.TAGS else self.tag or self.digest
        return f"/v2/{self.name}/{self.kind}/{reference}"

    def split_registry(self) -> tuple[str, str]:
        """Return the registry that the first part of the name says, and the rest of the name.

        A mirror that an engine cannot tell the registry otherwise is configured with it as
        the first part, where a port is written `_5000`: a colon is no part of a name. Without
        such a part the registry is empty.
        """
        first, slash, rest = self.name.partition("/")
        match = _REGISTRY_PART.fullmatch(first)
        if not match or not slash:
            return "", self.name
        return match[1] + (f":{match[2]}" if match[2] else ""), rest


def parse_registry_path(path: str) -> RegistryPath:
    """Return what a path, as it stands in the request, means.

    Raises:
        RegistryPathError: Nothing.
    """
    if len(path) > PATH_CHARS_MAX:
        raise RegistryPathError(code="NAME_INVALID", reason="the path is too long")
    if path in ("/v2", "/v2/"):
        return RegistryPath(kind=Kind.BASE)
    rest = path.removeprefix("/v2/")
    head, _, reference = rest.rpartition("/")
    name, _, word = head.rpartition("/")
    if rest == path:
        reason = "its paths begin with /v2/"
        raise RegistryPathError(code="UNSUPPORTED", reason=reason, status=404)
    if word not in set(Kind) - {Kind.BASE}:
        raise RegistryPathError(code="UNSUPPORTED", reason="no path of a registry", status=404)
    if len(name) > NAME_CHARS_MAX or not _NAME.fullmatch(name):
        raise RegistryPathError(code="NAME_INVALID", reason="no name of a repository")
    # Some clients write the colon of a digest so.
    return _parse_reference(Kind(word), name, re.sub("%3a", ":", reference, flags=re.IGNORECASE))


def parse_image_path(path: str) -> RegistryPath:
    """Return what the path of an `oci://` address means at its registry.

    `/repo:tag` and `/repo@digest` are manifests, `/repo/blobs/digest` is a blob; without a tag
    it is `latest`, as everywhere.

    Raises:
        RegistryPathError: It is no path of an image.
    """
    path = path.strip("/")
    name, word, digest = path.rpartition("/blobs/")
    if word:
        return parse_registry_path(f"/v2/{name}/blobs/{digest}")
    name, at, digest = path.partition("@")
    if at:
        return parse_registry_path(f"/v2/{name.partition(':')[0]}/manifests/{digest}")
    name, _, tag = path.partition(":")
    return parse_registry_path(f"/v2/{name}/manifests/{tag or 'latest'}")


def _parse_reference(kind: Kind, name: str, reference: str) -> RegistryPath:
    if kind is Kind.TAGS:
        if reference != "list":
            raise RegistryPathError(code="UNSUPPORTED", reason="no path of a registry", status=404)
        return RegistryPath(kind=kind, name=name)
    if kind is Kind.MANIFEST and ":" not in reference:
        if not _TAG.fullmatch(reference):
            raise RegistryPathError(code="MANIFEST_INVALID", reason="no tag and no digest")
        return RegistryPath(kind=kind, name=name, tag=reference)
    try:
        digest = Digest.parse(reference)
    except TaskSpecError as exc:
        raise RegistryPathError(code="DIGEST_INVALID", reason=exc.expected) from exc
    if str(digest) != reference:
        raise RegistryPathError(code="DIGEST_INVALID", reason="a digest is in lower case")
    return RegistryPath(kind=kind, name=name, digest=digest)


def parse_registry_name(text: str) -> str:
    """Return the name of a registry, `host` or `host:port`, in lower case.

    Raises:
        RegistryPathError: It is none.
    """
    match = _REGISTRY.fullmatch(text) if len(text) <= NAME_CHARS_MAX else None
    if not match or ".." in text or (match[2] and not 0 < int(match[2]) < 1 << 16):
        raise RegistryPathError(code="NAME_INVALID", reason="no registry such as ghcr.io or a:5000")
    return text.lower()
