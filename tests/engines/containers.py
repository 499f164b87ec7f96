"""podman and skopeo, which share a library and its files of settings."""

import base64
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from e2e.processes import Ended, run
from engines.registries import NOWHERE, SomeRegistry
from engines.swarm import Daemon


class Containers:
    """podman and skopeo with all their state in a folder."""

    def __init__(self, folder: Path, *, env: dict[str, str] | None = None) -> None:
        self._folder = folder
        folder.mkdir(parents=True)
        self._registries, storage = folder / "registries.conf", folder / "storage.conf"
        self._policy = folder / "policy.json"
        self._registries.write_text("unqualified-search-registries = []\n")
        places = f'graphroot = "{folder}/root"\nrunroot = "{folder}/run"\n'
        # Not overlay, which leaves its folder mounted when podman has ended.
        storage.write_text(f'[storage]\ndriver = "vfs"\n{places}')
        self._policy.write_text(json.dumps({"default": [{"type": "insecureAcceptAnything"}]}))
        self._logins = folder / "auth.json"
        self._logins.write_text("{}")
        self._env = {
            "CONTAINERS_REGISTRIES_CONF": str(self._registries),
            "REGISTRY_AUTH_FILE": str(self._logins),
            "CONTAINERS_STORAGE_CONF": str(storage),
            **(env or {}),
        }

    @property
    def registries_file(self) -> Path:
        """Where they read of registries."""
        return self._registries

    def use(self, registry: SomeRegistry, daemon: Daemon | None = None, *, user: str = "") -> None:
        """Tell them where a registry is; with a daemon it is not to be had but through that.

        A user is logged in to the mirror: what a command says of a user is for the registry.
        """
        insecure = str(registry.url.startswith("http:")).lower()
        location = NOWHERE if daemon else registry.host
        text = f'[[registry]]\nprefix = "{registry.host}"\nlocation = "{location}"\n'
        text += f"insecure = {insecure}\n"
        if daemon:
            mirror = f"{daemon.proxy}/{registry.host.replace(':', '_')}"  # no colon in a path
            text += f'[[registry.mirror]]\nlocation = "{mirror}"\ninsecure = true\n'
            if user:
                login = {"auth": base64.b64encode(user.encode()).decode()}
                self._logins.write_text(json.dumps({"auths": {mirror: login}}))
        with self._registries.open("a") as file:
            file.write(text)

    async def podman_pull(
        self, reference: str, *, user: str = "", flags: Sequence[str] = ()
    ) -> Ended:
        """Pull as `podman pull` does."""
        credentials = ("--creds", user) if user else ()
        policy = ("--signature-policy", str(self._policy))
        command = ("podman", "pull", "-q", *policy, *credentials, *flags, reference)
        return await run(*command, env=self._env)

    async def podman_login(self, registry: SomeRegistry, daemon: Daemon, user: str) -> Ended:
        """Log in to a daemon's mirror of a registry, as `podman login` does."""
        name, _, password = user.partition(":")
        place = f"{daemon.proxy}/{registry.host.replace(':', '_')}"
        command = ("podman", "login", "--tls-verify=false", "-u", name, "-p", password, place)
        return await run(*command, env=self._env)

    async def podman_digest(self, reference: str) -> str:
        """Return the digest of an image that podman holds."""
        command = ("podman", "image", "inspect", "--format", "{{.Digest}}", reference)
        return (await run(*command, env=self._env)).out.strip()

    async def skopeo_copy(
        self, reference: str, output: str, *, user: str = "", flags: Sequence[str] = ()
    ) -> Ended:
        """Copy all platforms of an image into a folder, which `blobs_in` reads."""
        credentials = ("--src-creds", user) if user else ()
        policy = ("--policy", str(self._policy), "--registries-conf", str(self._registries))
        what = ("--all", "--preserve-digests", *flags, f"docker://{reference}")
        where = f"dir:{self._folder / output}"
        return await run("skopeo", *policy, "copy", "-q", *credentials, *what, where, env=self._env)

    def blobs_in(self, output: str) -> set[str]:
        """Return the digests of what skopeo wrote, having read all of it."""
        folder = self._folder / output
        digests = {
            path: f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
            for path in folder.iterdir()
            if path.name != "version"
        }
        for path, digest in digests.items():
            assert path.name.endswith(".json") or f"sha256:{path.name}" == digest
        return set(digests.values())
