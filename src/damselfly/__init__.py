"""damselfly: many machines, one content, the source read once.

In Python three lines are enough::

    import damselfly

    damselfly.download("https://example.com/model.bin", "model.bin")
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from damselfly.faces.python.client import AsyncClient, Client, download

__all__ = ["AsyncClient", "Client", "download"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:  # noqa: ANN401  # whatever is asked for
    """Load the client when it is asked for: commands start without it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from damselfly.faces.python import client  # noqa: PLC0415

    return getattr(client, name)
