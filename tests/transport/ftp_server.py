"""An FTP server: ftp_server.py PORT FOLDER USER PASSWORD."""

import sys

from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import FTPHandler
from pyftpdlib.servers import FTPServer

port, folder, user, password = sys.argv[1:]
authorizer = DummyAuthorizer()
authorizer.add_user(user, password, folder, perm="elr")
FTPHandler.authorizer = authorizer
FTPHandler.auth_failed_timeout = 0  # it is no attack
FTPServer(("127.0.0.1", int(port)), FTPHandler).serve_forever()
