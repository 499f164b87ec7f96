"""Where the daemon's own CA lies; apart from `own_ca`, which takes a while to load."""

from pathlib import Path


def certificate_path(data: str) -> Path:
    """Return where the certificate lies in a data folder."""
    return Path(data) / "ca" / "ca.pem"


def key_path(data: str) -> Path:
    """Return where the key lies in a data folder."""
    return Path(data) / "ca" / "ca.key"
