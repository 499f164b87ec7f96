"""SeaweedFS on loopback: an S3 server that checks signatures, and keeps versions and checksums."""

import contextlib
import json
import os
import shutil
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import obstore
from awscrt import auth, http
from obstore.store import S3Store

from engines.programs import Program, accepts, free_port

ACCESS_KEY, SECRET_KEY = "anna", "p@ss w%6Frd"  # as inconvenient as they may be
BUCKET = "shelf"
ACTIONS = ["Admin", "Read", "Write", "List", "Tagging"]
NONE: Mapping[str, str] = {}


@contextlib.contextmanager
def a_seaweed(folder: Path, *, volumes_max: int = 20, volume_mib: int = 64) -> Iterator[str]:
    """Give the endpoint of one that runs inside the block, with a bucket `shelf`."""
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "s3.json"
    keys = [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}]
    config.write_text(
        json.dumps({"identities": [{"name": "t", "credentials": keys, "actions": ACTIONS}]})
    )
    ports = _ports()
    names = ("-master.port", "-volume.port", "-filer.port", "-s3.port")
    where = [word for pair in zip(names, map(str, ports), strict=True) for word in pair]
    weed = Path(sys.executable).parent / "weed"
    # What has a port of its own whoever else runs one is left out.
    without = ("-s3.port.iceberg", "0", "-s3.port.lance", "0")
    fixed = ("-ip", "127.0.0.1", "-ip.bind", "127.0.0.1", "-filer", "-s3", *without, "-s3.config")
    sizes = ("-volume.max", str(volumes_max), "-master.volumeSizeLimitMB", str(volume_mib))
    command = [str(weed), "server", *fixed, str(config), *sizes, "-dir", str(folder), *where]
    program = Program(command, folder)
    endpoint = f"http://127.0.0.1:{ports[-1]}"
    try:
        program.wait_ready(lambda: accepts("127.0.0.1", ports[-1]) and _made_bucket(endpoint))
        yield endpoint
    finally:
        os.kill(program.pid, 9)  # it takes 25 s to end otherwise
        program.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _ports() -> list[int]:
    """Return ports that are free, and 10,000 above too: it takes those for gRPC."""
    found: list[int] = []
    while len(found) < 4:
        port = free_port()
        if port < 55_000 and not accepts("127.0.0.1", port + 10_000):
            found.append(port)
    return found


def _made_bucket(endpoint: str) -> bool:
    try:
        ask_amazon(endpoint, "PUT", f"/{BUCKET}")
        store_at(endpoint).put("first", b"x")  # it allocates its volumes now
    except (OSError, obstore.exceptions.BaseError):
        return False
    return True


def store_at(endpoint: str, bucket: str = BUCKET) -> S3Store:
    """Return a way to a bucket past our own code, to fill it."""
    keys = {"access_key_id": ACCESS_KEY, "secret_access_key": SECRET_KEY, "endpoint": endpoint}
    config: Any = {"region": "us-east-1", "virtual_hosted_style_request": False, **keys}
    return S3Store(bucket, config=config, client_options={"allow_http": True})


def ask_amazon(
    endpoint: str, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] = NONE
) -> Mapping[str, str]:
    """Ask for what obstore has no way for; return the headers of the answer."""
    named = [("host", urlsplit(endpoint).netloc), ("content-length", str(len(body)))]
    request = http.HttpRequest(method, path, http.HttpHeaders([*named, *headers.items()]))
    config = auth.AwsSigningConfig(
        algorithm=auth.AwsSigningAlgorithm.V4,
        signature_type=auth.AwsSignatureType.HTTP_REQUEST_HEADERS,
        credentials_provider=auth.AwsCredentialsProvider.new_static(ACCESS_KEY, SECRET_KEY),
        region="us-east-1",
        service="s3",
        use_double_uri_encode=False,
        should_normalize_uri_path=False,
        signed_body_value="UNSIGNED-PAYLOAD",
        signed_body_header_type=auth.AwsSignedBodyHeaderType.X_AMZ_CONTENT_SHA_256,
    )
    auth.aws_sign_request(request, config).result()
    signed = urllib.request.Request(endpoint + path, body, dict(request.headers), method=method)
    with urllib.request.urlopen(signed) as answer:
        return dict(answer.headers)
