"""Statements that no reset of a session undoes are recognised."""

from __future__ import annotations

import pytest

from pytest_pgtemplate._engines.permanent import is_permanent


@pytest.mark.parametrize(
    "statement",
    [
        "SET app.tenant = 'x'",
        "set local app.tenant to 'x'",
        "SET\tapp.tenant = 'x'",
        """SET LOCAL "app.user_id" = '7'""",
        """SET SESSION "request"."jwt" = '{}'""",
        "SELECT set_config('app.tenant', 'x', true)",
        "PREPARE theirs AS SELECT 1",
        "PREPARE\ntheirs AS SELECT 1",
        "DEALLOCATE ALL",
        "DISCARD  all",
        "DO $$ BEGIN EXECUTE 'DEALLOCATE ALL'; END $$",
        "SELECT setseed(0.5)",
        "SET SESSION seed TO 0.5",
        "LOAD 'auto_explain'",
        "SELECT dblink_connect('theirs', 'dbname=other')",
        "CREATE TEMP TABLE mine (id int)",
        "create local temporary table mine as select 1",
        "CREATE OR REPLACE TEMP VIEW mine AS SELECT 1",
        "SELECT 1 AS id INTO TEMPORARY mine",
    ],
)
def test_they_close_the_connection(statement: str) -> None:
    assert is_permanent(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "SET work_mem = '1MB'",
        "UPDATE item SET name = 'x.y'",
        "SELECT prepared_at FROM item OFFSET 3",
        "SELECT discarded_at, seed, load FROM upload WHERE load > 'x'",
        "DISCARD TEMP",
        "INSERT INTO temperature SELECT temp FROM weather",
        "SELECT id FROM data.set WHERE id = 1.5",
    ],
)
def test_others_keep_it(statement: str) -> None:
    assert not is_permanent(statement)
