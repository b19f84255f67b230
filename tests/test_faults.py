"""One fault of each kind; ``tox run -e faults`` tries all of them."""

from __future__ import annotations

import pytest

from support.faults import ALL_KINDS, broken_rules, count, faults_of, suite_behind_proxy
from support.servers import need_binaries


@pytest.mark.parametrize("start", ["warm", pytest.param("cold", marks=pytest.mark.full)])
@pytest.mark.parametrize("kind", ALL_KINDS)
def test_a_call_that_fails_makes_nothing_silently_wrong(kind: str, start: str) -> None:
    need_binaries()
    with suite_behind_proxy() as (suite, proxy):
        faults = faults_of(kind, suite, proxy)
        middle = count(suite, faults, start) // 2
        assert not list(broken_rules(suite, faults, start, [middle]))
