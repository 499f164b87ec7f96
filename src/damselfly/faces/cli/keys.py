"""`damselfly keys add`: a key for the file of keys that a SuperNode encrypts with."""

from typing import Annotated

import typer

keys_app = typer.Typer(help="The keys that encrypt contents.", no_args_is_help=True)


@keys_app.callback()
def _group() -> None:
    """Keep a group a group although it has one command."""


@keys_app.command()
def add(
    path: Annotated[str, typer.Argument(metavar="FILE")],
    name: Annotated[str, typer.Argument(metavar="NAME")],
) -> None:
    """Draw a key, add it to a file of keys, and make it the current one.

    The file is made if there is none, for its owner alone. Keys that it has stay, for what
    they encrypted.
    """
    from damselfly.services.encrypting.key_file import add_key  # noqa: PLC0415  # 50 ms, seldom

    add_key(path, name)
    typer.echo(f"{path}: key {name} is the current one")
