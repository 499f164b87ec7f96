"""Checksums of objects: what a store tells of them to a HEAD of our own.

obstore reads the objects, and tells nothing of their checksums. So beside the reading of a whole
object its head is asked for, with the same keys. It is a gain when it is there and no loss when it
is not: whatever goes wrong with it, the object is read as it would be without. See
docs/decisions/0050-checksums-by-a-head-of-our-own.md.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import quote, urlsplit

from damselfly.clock import now_s
from damselfly.core.digest import Digest
from damselfly.core.task import Headers, TaskSpec
from damselfly.telemetry.log import get_log
from damselfly.transport.sources.checksums import checksum_told, digest_told
from damselfly.transport.sources.http import HttpSource
from damselfly.transport.sources.kinds.buckets import Bucket, ObjectName

if TYPE_CHECKING:
    from obstore.store import ObjectStore

OK: Final = 200
PAUSE_S: Final = 600.0  # where it cannot be asked for, trying costs little in so long
PAUSES_MAX: Final = 1024
SIGNED_FOR: Final = timedelta(minutes=5)  # clocks differ; it is used at once
CHECKSUM_MODE: Final = (("x-amz-checksum-mode", "ENABLED"),)

Method = Literal["GET", "HEAD"]

log = get_log()


@dataclass(frozen=True, slots=True)
class Sums:
    """What a store told of an object.

    Attributes:
        etag: Of which version.
        digest: As in `SourceAnswer`.
        checksum: The same.
    """

    etag: str = ""
    digest: Digest | None = None
    checksum: str = ""


class ObjectSums:
    """Asks stores for the checksums of their objects."""

    def __init__(self, http: HttpSource, *, patience_s: float) -> None:
        self._http = http
        self._patience_s = patience_s
        self._paused: dict[Bucket, float] = {}  # {where it failed: until when}; holds secrets

    async def ask(
        self, bucket: Bucket, name: ObjectName, store: Callable[[], "ObjectStore"]
    ) -> Sums:
        """Return what a store tells of an object; nothing if that cannot be known now."""
        if self._paused.get(bucket, 0.0) > now_s():
            return Sums()
        try:
            request = await _signed(bucket, name, store)
            if request is None:
                return Sums()
            async with asyncio.timeout(self._patience_s):
                response = await self._http.ask("HEAD", request, {})
        except Exception as exc:  # noqa: BLE001  # of what signs, too; its text may hold secrets
            self._pause(bucket)
            return _nothing(bucket, getattr(exc, "reason", type(exc).__name__))
        response.close()
        if response.status != OK:
            return _nothing(bucket, f"status {response.status}")
        told = response.headers
        return Sums(told.get("ETag", ""), digest_told(told), checksum_told(told))

    def _pause(self, bucket: Bucket) -> None:
        if len(self._paused) >= PAUSES_MAX:
            self._paused.clear()
        self._paused[bucket] = now_s() + PAUSE_S


def _nothing(bucket: Bucket, reason: str) -> Sums:
    log.debug("checksum_not_told", bucket=f"{bucket.scheme}://{bucket.name}", reason=reason)
    return Sums()


async def _signed(
    bucket: Bucket, name: ObjectName, store: Callable[[], "ObjectStore"]
) -> TaskSpec | None:
    """Return the request for the head of an object; None: not with what this requester shows.

    Of what a machine can be in its cloud, the keys in its environment alone are known: they are
    what obstore takes first, and whoever looked for others might come as somebody else.
    """
    url = bucket.url_of(name)
    match bucket.scheme:
        case "s3" if bucket.is_for_anybody:
            return TaskSpec(url=url, headers=CHECKSUM_MODE)
        case "s3" if (bucket.user and bucket.password) or not (bucket.user or bucket.token):
            return TaskSpec(url=url, headers=_signed_for_amazon(bucket, url))
        case "gs" | "az" if bucket.is_for_anybody:
            return TaskSpec(url=url)
        case "gs" if bucket.token.startswith("{"):
            return await _by_signed_url(store, "HEAD", name)
        case "gs" if bucket.token:
            return TaskSpec(url=url, headers=(("Authorization", f"Bearer {bucket.token}"),))
        case "az" if bucket.token:
            mark = "&" if name.version else "?"
            return TaskSpec(url=f"{url}{mark}{bucket.token.lstrip('?')}")
        # A right to read is one to the head, and obstore knows none of the head alone; what it
        # signs is the name as it stands in the URL, which Azure takes for another one.
        case "az" if bucket.password and quote(name.key) == name.key:
            return await _by_signed_url(store, "GET", name)
    return None


async def _by_signed_url(
    store: Callable[[], "ObjectStore"], method: Method, name: ObjectName
) -> TaskSpec | None:
    import obstore  # noqa: PLC0415  # 40 ms, seldom

    if name.version:
        return None  # obstore signs none, and what is added to a signed URL breaks its signature
    return TaskSpec(url=await obstore.sign_async(store(), method, name.key, SIGNED_FOR))  # type: ignore[arg-type]


def _signed_for_amazon(bucket: Bucket, url: str) -> Headers:
    """Return the headers that ask for a checksum, signed; its URL could not ask for one."""
    from awscrt import auth, http  # noqa: PLC0415  # 60 ms, seldom; an extra

    parts = urlsplit(url)
    path = f"{parts.path}?{parts.query}" if parts.query else parts.path
    asked = http.HttpHeaders([("host", parts.netloc), *CHECKSUM_MODE])
    request = http.HttpRequest("HEAD", path, asked)
    keys = auth.AwsCredentialsProvider.new_environment()
    if bucket.user:
        given = (bucket.user, bucket.password, bucket.token or None)
        keys = auth.AwsCredentialsProvider.new_static(*given)
    config = auth.AwsSigningConfig(
        algorithm=auth.AwsSigningAlgorithm.V4,
        signature_type=auth.AwsSignatureType.HTTP_REQUEST_HEADERS,
        credentials_provider=keys,
        region=bucket.account.region,
        service="s3",
        use_double_uri_encode=False,
        should_normalize_uri_path=False,
        signed_body_value="UNSIGNED-PAYLOAD",
        signed_body_header_type=auth.AwsSignedBodyHeaderType.X_AMZ_CONTENT_SHA_256,
    )
    auth.aws_sign_request(request, config).result()
    return tuple((name, value) for name, value in request.headers if name != "host")
