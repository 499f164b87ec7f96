"""An SFTP server: sftp_server.py PORT FOLDER USER PASSWORD."""

import asyncio
import os
import stat
import sys
from pathlib import Path

import asyncssh

port, folder, *known = sys.argv[1:]

Login = type(
    "Login",
    (asyncssh.SSHServer,),
    {
        "password_auth_supported": lambda _: True,
        "validate_password": lambda _, user, password: [user, password] == known,
    },
)


class Served(asyncssh.SFTPServer):
    """It keeps to the rights of files even if it runs as root, who has them all."""

    def open(self, path: bytes, pflags: int, attrs: asyncssh.SFTPAttrs) -> object:
        if not Path(os.fsdecode(self.map_path(path))).stat().st_mode & stat.S_IRUSR:
            raise asyncssh.SFTPPermissionDenied("not yours")
        return super().open(path, pflags, attrs)


async def main() -> None:
    """Serve until it is ended."""
    server = await asyncssh.listen(
        *("127.0.0.1", int(port)),
        server_factory=Login,
        server_host_keys=[asyncssh.generate_private_key("ssh-ed25519")],
        sftp_factory=lambda channel: Served(channel, chroot=folder.encode()),
    )
    await server.wait_closed()


asyncio.run(main())
