"""The host itself: the CA's files, the disk, and limits of the system."""

import os
from pathlib import Path
from typing import Final

from damselfly.services.ca_files import certificate_path, key_path
from damselfly.services.doctor.findings import Finding, Scene, failed, ok, skipped, warning

DAY_S: Final = 86400.0
CA_WARNING_S: Final = 30 * DAY_S  # time enough to give a new one to every client
ROOM_WARNING_BYTES: Final = 1 << 30  # a model or two layers
OPEN_FILES_WARNING: Final = 4096  # two a peer and one a cached content
OPEN_FILES_FAILED: Final = 512
BACKLOG_WARNING: Final = 1024
SOMAXCONN: Final = "/proc/sys/net/core/somaxconn"


def check_ca(scene: Scene) -> list[Finding]:
    """Look at the files of the daemon's own CA."""
    from cryptography import x509  # noqa: PLC0415  # 100 ms that no other check needs

    certificate, key = certificate_path(scene.data), key_path(scene.data)
    try:
        pem, mode = certificate.read_bytes(), key.stat().st_mode & 0o777
    except FileNotFoundError:
        return [skipped("ca", f"there is none in {certificate.parent} yet; the daemon makes it")]
    except OSError as exc:
        reason = (exc.strerror or str(exc)).lower()
        return [skipped("ca", f"{certificate.parent} cannot be read: {reason}; run this as root")]
    if mode & 0o077:
        text = f"{key} can be read by others (mode {mode:03o})"
        return [failed("ca", text, f"chmod 600 {key}, and make a new CA if they may have")]
    try:
        end_s = x509.load_pem_x509_certificate(pem).not_valid_after_utc.timestamp()
    except ValueError:
        advice = f"stop the daemon, remove {certificate.parent}, and trust the new one"
        return [failed("ca", f"{certificate} is no certificate", advice)]
    left_s = end_s - scene.now_wall_s()
    if left_s < CA_WARNING_S:
        text = f"the CA expires in {left_s / DAY_S:.0f} days" if left_s > 0 else "the CA expired"
        advice = f"stop the daemon, remove {certificate.parent}, and trust the new one"
        return [(warning if left_s > 0 else failed)("ca", text, advice)]
    return [ok("ca", f"{key} is private, the certificate is valid for {left_s / DAY_S:.0f} days")]


def check_disk(scene: Scene) -> list[Finding]:
    """Look at the disk of the cache: room, quota, reserve, and whether it can be written."""
    if scene.status is None:
        return [skipped("disk", "the daemon is down")]
    cache = scene.status.cache
    try:
        disk = os.statvfs(cache.data)
    except OSError as exc:
        reason = (exc.strerror or str(exc)).lower()
        advice = "put the folder back, or restart the daemon with another one"
        return [failed("disk", f"{cache.data} cannot be looked at: {reason}", advice)]
    if disk.f_flag & os.ST_RDONLY:
        text = f"{cache.data} is on a disk that is mounted read-only"
        return [failed("disk", text, "see why the system did that, and remount it")]
    if disk.f_files and not disk.f_favail:
        return [failed("disk", f"no files can be made in {cache.data}", "free some inodes")]
    room = cache.disk_free_bytes - cache.reserve_bytes
    if room <= 0:
        text = f"{cache.data}: {_gib(cache.disk_free_bytes)} free, which the reserve keeps"
        return [failed("disk", text, "free some space, or lower the reserve")]
    if room < ROOM_WARNING_BYTES:
        text = f"{cache.data}: the cache can grow by {_gib(room)} only"
        return [warning("disk", text, "free some space, or give it another disk")]
    if cache.quota_bytes > disk.f_blocks * disk.f_frsize:
        text = f"the quota of {_gib(cache.quota_bytes)} is more than the disk has"
        return [warning("disk", text, "lower the quota; until then the reserve is the limit")]
    return [ok("disk", f"{cache.data}: the cache can grow by {_gib(room)}")]


def _gib(count: int) -> str:
    return f"{count / (1 << 30):.1f} GiB"


def check_open_files(scene: Scene) -> list[Finding]:
    """Look at the daemon's limit of open files."""
    if scene.status is None:
        return [skipped("open files", "the daemon is down")]
    limit = scene.status.open_files_max
    text = f"the daemon may open {limit} files and connections"
    if limit >= OPEN_FILES_WARNING:
        return [ok("open files", text)]
    advice = f"raise it to {OPEN_FILES_WARNING} or more (LimitNOFILE in its systemd unit)"
    return [(warning if limit >= OPEN_FILES_FAILED else failed)("open files", text, advice)]


def check_backlog(_: Scene) -> list[Finding]:
    """Look at how many connections may wait to be accepted."""
    try:
        count = int(Path(SOMAXCONN).read_text())
    except (OSError, ValueError):
        return []  # another system
    text = f"the kernel lets {count} connections wait"
    if count >= BACKLOG_WARNING:
        return [ok("backlog", text)]
    advice = f"sysctl net.core.somaxconn={4 * BACKLOG_WARNING}, for hosts that all start at once"
    return [warning("backlog", text, advice)]
