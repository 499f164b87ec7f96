"""Guards who may put what into everybody's cache."""

import pytest

from damselfly.core.caching.imports import ImportPolicy


@pytest.mark.parametrize(
    ("policy", "by_digest", "by_url"),
    [
        (ImportPolicy.NONE, False, False),
        (ImportPolicy.DIGEST, True, False),
        (ImportPolicy.ALL, True, True),
    ],
)
def test_imports_are_taken_over_as_the_policy_says(
    policy: ImportPolicy, *, by_digest: bool, by_url: bool
) -> None:
    assert policy.allows(is_named_by_digest=True) is by_digest
    assert policy.allows(is_named_by_digest=False) is by_url
