"""An SFTP server: sftp_server.py PORT FOLDER USER PASSWORD."""

import asyncio
import sys

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


async def main() -> None:
    """Serve until it is ended."""
    server = await asyncssh.listen(
        *("127.0.0.1", int(port)),
        server_factory=Login,
        server_host_keys=[asyncssh.generate_private_key("ssh-ed25519")],
        sftp_factory=lambda channel: asyncssh.SFTPServer(channel, chroot=folder.encode()),
    )
    await server.wait_closed()


asyncio.run(main())
