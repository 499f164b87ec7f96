"""From options to the sources that a process asks."""

from collections.abc import Iterable

from damselfly.services.options import RegistryOptions, SourceOptions
from damselfly.services.registries import Registries, trusts_of
from damselfly.services.seeding.budgeted import BudgetedSource, Budgets
from damselfly.transport.sources.accounts import Accounts
from damselfly.transport.sources.by_scheme import Sources
from damselfly.transport.sources.http import HttpSource, Trust, origin_of
from damselfly.wire.registry_paths import RegistryPath


def open_sources(options: SourceOptions, registries: Iterable[RegistryOptions]) -> Sources:
    """Return the sources that the settings describe, asked within their budgets.

    Raises:
        SettingsError: Certificates cannot be read.
    """
    registries = tuple(registries)
    places = Registries(registries)
    http = HttpSource(
        connect_timeout_s=options.connect_timeout_s,
        stall_timeout_s=options.stall_timeout_s,
        connections_max=options.connections_max,
        ca_file=options.ca_file,
        trusts={**_trusts_of_accounts(options), **trusts_of(registries)},
    )

    def find_urls(registry: str, path: RegistryPath) -> list[str]:
        found = places.find(registry)
        return [found.url(base, path) for base in found.bases]

    budgets = Budgets(options.budgets, failures_max=options.ill_after, pause_s=options.ill_pause_s)
    return Sources(
        http,
        wrap=lambda kind: BudgetedSource(kind, budgets),
        accounts=Accounts(options.accounts, netrc_file=options.netrc_file),
        hub_endpoint=options.hub_endpoint,
        folders=options.folders,
        find_urls=find_urls,
        connect_timeout_s=options.connect_timeout_s,
        stall_timeout_s=options.stall_timeout_s,
    )


def _trusts_of_accounts(options: SourceOptions) -> dict[str, Trust]:
    """Return {origin: how it is verified, and what is shown to it} for those that say so."""
    trusts = {}
    for account in options.accounts:
        url = account.endpoint or account.match
        is_special = account.ca_file or account.client_cert_file or account.insecure
        if is_special and url.startswith("https://"):
            trusts[origin_of(url)] = Trust(
                account.ca_file,
                account.insecure,
                account.client_cert_file,
                account.client_key_file,
            )
    return trusts
