"""Where data folders and sockets are when nobody says: those of the system, or of the user."""

import os
from pathlib import Path

SYSTEM = Path("/var/lib/damselfly")


def data_folder(part: str) -> str:
    """Return the folder of a part: below /var/lib for root, else in the user's state."""
    if os.geteuid() == 0:
        return str(SYSTEM / part)
    return str(_user_state() / part)


def daemon_sockets() -> list[str]:
    """Return where a daemon's socket may be, the user's own first."""
    places = [_user_state(), SYSTEM]
    if os.geteuid() == 0:
        places.reverse()
    return [str(place / "daemon" / "daemon.sock") for place in places]


def _user_state() -> Path:
    state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser(
        "~/.local/state"
    )  # pathlib raises where there is no home
    return Path(state) / "damselfly"
