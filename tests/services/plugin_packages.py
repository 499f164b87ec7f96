"""Plug-ins as somebody else would install them: a module and its entry point on the path."""

from collections.abc import Callable
from pathlib import Path

OnPath = Callable[[Path], None]


def install(folder: Path, group: str, name: str, source: str) -> Path:
    """Write a package `NAME_plugin` with `Plugin` in it; returns what goes onto the path."""
    module = f"{name.replace('-', '_')}_plugin"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{module}.py").write_text(source)
    info = folder / f"{module}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{group}]\n{name} = {module}:Plugin\n")
    return folder


A_CIPHER = """\
import time
from damselfly.wire.ciphers.aes256gcm import Aes256Gcm

class Plugin(Aes256Gcm):
    cipher_id = {cipher_id}
    name = "{name}"

    def seal(self, body, *, associated, key, nonce):
        {seal}
        return super().seal(body, associated=associated, key=key, nonce=nonce)

    def open(self, sealed, *, associated, key):
        {open}
        return super().open(sealed, associated=associated, key=key)
"""


def a_cipher(
    folder: Path, name: str, *, cipher_id: int = 200, seal: str = "pass", opening: str = "pass"
) -> Path:
    """Install a cipher that does something before it does what AES-256-GCM does."""
    source = A_CIPHER.format(cipher_id=cipher_id, name=name, seal=seal, open=opening)
    return install(folder, "damselfly.ciphers", name, source)
