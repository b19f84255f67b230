"""A revision that is added to 300: the template built from nothing, and from the one before it.

    python benchmarks/revision.py [--revisions 300] [--rounds 5]

Each revision makes a table and an index. Every round adds another last revision to the same others
and runs one test twice, on the embedded server or on PGTEMPLATE_URL: the first run starts from the
template of the others, the second, with --pg-rebuild, from nothing. Prints how long each took for
the template, as medians, and their ratio; the dumps of both have to be equal.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import statistics
import tempfile
from pathlib import Path

from lineage import write_environment, write_revision
from runs import run_pytest
from server import drop_all, server_at

from pytest_pgtemplate import _embedded

PREFIX = f"benchmark_{os.getpid()}"
UPGRADE = """op.create_table(
        "{table}",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
    )
    op.create_index("{table}_name", "{table}", ["name"])
    op.execute("INSERT INTO {table} (name) VALUES ('reference')")"""
TEST = """
import os, subprocess

def test_one(pg, pg_database):
    with open(os.environ["DUMP"], "w") as file:
        command = [os.environ["PG_DUMP"], "--exclude-schema=pgtemplate", pg_database.dsn]
        subprocess.run(command, stdout=file, check=True)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--revisions", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with server_at() as server, tempfile.TemporaryDirectory() as name:
        print(f"{server}, {os.cpu_count()} CPUs")
        root = Path(name)
        _write_project(root, arguments.revisions)
        _run(root, "first")
        added, rebuilt = [], []
        try:
            for number in range(arguments.rounds):
                _write_revision(root, arguments.revisions + 1, f"added_{number}")
                added.append(_run(root, "added"))
                rebuilt.append(_run(root, "rebuilt", "--pg-rebuild"))
                print(f"from the nearest {added[-1]:.3f} s, from nothing {rebuilt[-1]:.3f} s")
                assert _dump(root, "added") == _dump(root, "rebuilt")
        finally:
            drop_all(server, PREFIX)
    ratio = statistics.median(a / b for a, b in zip(added, rebuilt, strict=True))
    print(
        f"medians: from the nearest {statistics.median(added):.3f} s, from nothing"
        f" {statistics.median(rebuilt):.3f} s; ratio {ratio:.3f} (at most 0.1); dumps are equal"
    )


def _write_project(root: Path, revisions: int) -> None:
    write_environment(root)
    (root / "pytest.ini").write_text(f"[pytest]\npg_name = {PREFIX}\n")
    (root / "test_it.py").write_text(TEST)
    for number in range(1, revisions + 1):
        _write_revision(root, number, f"table_{number}")


def _write_revision(root: Path, number: int, table: str) -> None:
    write_revision(root, number, UPGRADE.format(table=table))


def _run(root: Path, dump: str, *options: str) -> float:
    """Seconds until the run had its template."""
    beside = _embedded.find_binaries(None).bindir
    pg_dump = shutil.which("pg_dump", path=beside) or "pg_dump"
    environment = {"DUMP": str(root / dump), "PG_DUMP": pg_dump}
    arguments = ("--pg-stats", *options)
    done = run_pytest(root, *arguments, plugins=("pgtemplate",), passed=1, environment=environment)
    return float(re.findall(r"main: template ([\d.]+) s", done.output)[0])


def _dump(root: Path, name: str) -> list[str]:
    lines = (root / name).read_text().splitlines()
    return [line for line in lines if not line.startswith(("\\restrict", "\\unrestrict"))]


if __name__ == "__main__":
    main()
