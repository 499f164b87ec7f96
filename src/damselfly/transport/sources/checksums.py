"""What a source tells of its content's checksum, in the headers that there are for it.

A **digest** names a content: it is good against anybody. A **checksum** (MD5, SHA-1, CRC) is
good against accidents only: it is compared when the source was read, and names nothing.
"""

import base64
import re
from collections.abc import Mapping

from damselfly.core.digest import Digest
from damselfly.errors import TaskSpecError
from damselfly.wire.hashing import CHECKSUMS, can_hash

_SF_BYTES = re.compile(r"(sha-256|sha-512)=:([A-Za-z0-9+/=]+):")
_RFC3230 = re.compile(r"(sha-256|sha-512)=([A-Za-z0-9+/=]+)", re.IGNORECASE)
_ALGORITHMS = {"sha-256": "sha256", "sha-512": "sha512"}
_GOOGLE = re.compile(r"(crc32c|md5)=([A-Za-z0-9+/=]+)")
_CHECKSUMS = {
    "x-amz-checksum-sha1": "sha1",
    "x-amz-checksum-crc64nvme": "crc64nvme",
    "x-amz-checksum-crc32c": "crc32c",
    "x-amz-checksum-crc32": "crc32",
    "Content-MD5": "md5",
}


def digest_told(headers: Mapping[str, str]) -> Digest | None:
    """Return the digest of the whole content that a source told; malformed ones are ignored.

    Source: RFC 9530 (Repr-Digest), RFC 3230 (Digest), Amazon S3, OCI distribution.
    """
    for name, pattern in (("Repr-Digest", _SF_BYTES), ("Digest", _RFC3230)):
        for algorithm, value in pattern.findall(headers.get(name, "")):
            if digest := _from_base64(_ALGORITHMS[algorithm.lower()], value):
                return digest
    # A checksum of parts ends in "-N": it is not one of the content.
    told = headers.get("x-amz-checksum-sha256")
    if told and (digest := _from_base64("sha256", told)):
        return digest
    try:
        return Digest.parse(told) if (told := headers.get("Docker-Content-Digest")) else None
    except TaskSpecError:
        return None


def _from_base64(algorithm: str, value: str) -> Digest | None:
    try:
        return Digest.parse(f"{algorithm}:{base64.b64decode(value, validate=True).hex()}")
    except (ValueError, TaskSpecError):
        return None


def checksum_told(headers: Mapping[str, str]) -> str:
    """Return the checksum of the whole content, `md5:0123…`; empty: none was told.

    Source: RFC 1864 (Content-MD5), Amazon S3, Google Cloud Storage (x-goog-hash).
    """
    told = [(name, headers[header]) for header, name in _CHECKSUMS.items() if header in headers]
    # What is kept packed is given unpacked to who does not ask for packed: that has other bytes.
    if headers.get("x-goog-stored-content-encoding", "identity") == "identity":
        told += _GOOGLE.findall(headers.get("x-goog-hash", ""))
    for name, value in told:
        try:
            raw = base64.b64decode(value, validate=True)
        except ValueError:
            continue
        if len(raw) * 2 == CHECKSUMS[name] and can_hash(name):
            return f"{name}:{raw.hex()}"
    return ""
