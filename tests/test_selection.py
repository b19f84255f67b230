"""What the short form of this suite selects."""

from __future__ import annotations

from itertools import combinations, product

import pytest

from support.programs import load_program
from support.selection import covering

FULL = load_program("selection/full.py")


def test_every_pair_of_values_is_in_a_chosen_row() -> None:
    rows = {str(row): row for row in product(range(12), "ab", "ab", "ab")}
    chosen = [rows[name] for name in covering(rows, columns=2)]

    assert len(chosen) == 24
    for one, other in combinations(range(4), 2):
        assert {(row[one], row[other]) for row in rows.values()} == {
            (row[one], row[other]) for row in chosen
        }


def test_every_value_is_in_a_chosen_row() -> None:
    rows = {str(row): row for row in product(range(3), "abc", "ab")}

    assert len(covering(rows, columns=1)) == 3


@pytest.mark.parametrize(("options", "passed"), [([], 7), (["--full"], 10)], ids=["short", "long"])
def test_the_long_form_runs_what_the_short_form_leaves_out(
    pytester: pytest.Pytester, options: list[str], passed: int
) -> None:
    pytester.makepyfile(FULL)
    pytester.makeini("[pytest]\nasyncio_default_fixture_loop_scope = function")

    result = pytester.runpytest_inprocess("-p", "support.selection", *options)

    result.assert_outcomes(passed=passed, deselected=10 - passed)
