"""What Django's own isolation costs on top of the plugin: examples/django, with and without it.

    python benchmarks/django_isolation.py [--rounds 15] [--times 30] [--tables 100]

The application gets so many further tables. Each test inserts one row and commits, on one process
and the embedded server or PGTEMPLATE_URL; the plugin resets the databases after it. In turn:

    django    as pytest-django does it: what the rows below name comes in addition to the reset
    plugin    with the fixture of docs/django.md, which switches Django's isolation off

    django_db            a transaction around the test, and its rollback
    transaction          transaction=True: a flush after the test
    two databases        the same with databases=["default", "billing"]: two flushes

Prints what a test takes on each side, and the difference round by round: medians and quartiles.
The first ten tests and the last one are not counted. Two further lines: the start of a run with one
such test, with the CPU time of the process, and what of that is the import of SQLAlchemy.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from processes import cpu_seconds
from repeated import copy_example, each_test, spread
from runs import run_pytest
from server import server_at

PLUGINS = ("pgtemplate", "asyncio", "django")
MARKS = {
    "django_db": "",
    "transaction": "transaction=True",
    "two databases": "transaction=True, databases=['default', 'billing']",
}
TEST = """
import pytest
from catalog.models import Category
{fixture}
@pytest.mark.django_db({mark})
def test_it():
    Category.objects.create(name="chess")
"""
WITH_DJANGO = """
@pytest.fixture(scope="session", autouse=True)
def isolation_by_the_plugin():
    return None
"""
MODELS = """

for number in range({tables}):
    name = f"Further{{number}}"
    fields = {{"__module__": __name__, "name": models.TextField()}}
    globals()[name] = type(name, (models.Model,), fields)
"""
MIGRATION = """
from django.db import migrations, models

COLUMNS = [("id", models.BigAutoField(primary_key=True)), ("name", models.TextField())]


class Migration(migrations.Migration):
    dependencies = [("catalog", "{latest}")]
    operations = [
        migrations.CreateModel(f"Further{{number}}", COLUMNS) for number in range({tables})
    ]
"""
MODULES = ("django", "asyncpg", "pytest", "ssl")  # what a run has imported anyway


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--times", type=int, default=30, help="how often each test runs")
    parser.add_argument("--tables", type=int, default=100)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory, server_at():
        project = lay_out(Path(directory), arguments.times, arguments.tables)
        print("ms a test         django                    plugin                    saved")
        for kind in MARKS:
            compare(project, kind.replace(" ", "_"), arguments.rounds)
        start(project, arguments.rounds)


def lay_out(directory: Path, times: int, tables: int) -> Path:
    """Copy the example with further tables, and with one module per kind and side."""
    project = copy_example("django", directory, times)
    with (project / "catalog" / "models.py").open("a") as file:
        file.write(MODELS.format(tables=tables))
    migrations = project / "catalog" / "migrations"
    latest = max(path.stem for path in migrations.glob("0*.py"))
    text = MIGRATION.format(latest=latest, tables=tables)
    (migrations / "0999_further.py").write_text(text)
    for path in project.glob("tests/test_*.py"):
        path.unlink()
    for kind, mark in MARKS.items():
        for side, fixture in (("django", WITH_DJANGO), ("plugin", "")):
            module = project / "tests" / f"test_{kind.replace(' ', '_')}_{side}.py"
            module.write_text(TEST.format(fixture=fixture, mark=mark))
    return project


def compare(project: Path, kind: str, rounds: int) -> None:
    found = [
        [
            each_test(project, f"tests/test_{kind}_{side}.py", plugins=PLUGINS)
            for side in ("django", "plugin")
        ]
        for _ in range(rounds)
    ]
    columns = [[pair[0] for pair in found], [pair[1] for pair in found]]
    columns.append([django - plugin for django, plugin in found])
    print(f"{kind:16}" + "".join(f"  {spread(column):24}" for column in columns), flush=True)


def start(project: Path, rounds: int) -> None:
    """A run with one test, and the import of SQLAlchemy beside what such a run imports anyway."""
    runs, imports = [], []
    test = "tests/test_transaction_plugin.py::test_it[0]"
    for _ in range(rounds):
        runs.append(run_pytest(project, test, plugins=[*PLUGINS, "repeat_tests"]))
        without, with_it = (_import_seconds(*more) for more in ((), ("sqlalchemy.engine",)))
        imports.append(with_it - without)
    print(f"start, CPU ms     {spread([1000 * run.cpu for run in runs], 0)}")
    print(f"  SQLAlchemy      {spread([1000 * seconds for seconds in imports], 0)}")


def _import_seconds(*more: str) -> float:
    """Return the CPU seconds of a process that imports these modules."""
    before = cpu_seconds(None)
    code = f"import {', '.join((*MODULES, *more))}"
    subprocess.run([sys.executable, "-c", code], check=True)
    return cpu_seconds(None) - before


if __name__ == "__main__":
    main()
