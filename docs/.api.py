"""Write the tables of docs/api.md, for readers who do not build the site: python docs/.api.py"""

import inspect
import re
from pathlib import Path

import pytest_pgtemplate
from pytest_pgtemplate import errors

PAGE = Path(__file__).with_name("api.md")
TABLE = re.compile(r"(<!-- (\w+): written by docs/\.api\.py -->\n).*?(<!-- end -->\n)", re.DOTALL)


def names() -> str:
    """The names that a conftest.py can import, with their signatures."""
    rows = [(name, getattr(pytest_pgtemplate, name)) for name in pytest_pgtemplate.__all__]
    return table("name", [(f"{name}{signature(each)}", each) for name, each in rows])


def error_names() -> str:
    return table("error", [(each.__name__, each) for each in vars(errors).values() if own(each)])


def own(each: object) -> bool:
    return isinstance(each, type) and each.__module__ == errors.__name__


def signature(each: type) -> str:
    """The parameters, without types; nothing for a class that users do not create."""
    if each.__name__ in {"Database", "Migrations", "Server", "Target", "Template"}:
        return ""
    parameters = inspect.signature(each).parameters.values()
    return str(inspect.Signature([it.replace(annotation=it.empty) for it in parameters]))


def table(heading: str, rows: list[tuple[str, type]]) -> str:
    lines = [f"| {heading} | |", "|---|---|"]
    lines += [f"| `{name}` | {first_line(each)} |" for name, each in rows]
    return "\n".join(lines) + "\n"


def first_line(each: type) -> str:
    paragraph = inspect.getdoc(each).partition("\n\n")[0]
    return " ".join(paragraph.replace("``", "`").split())


def render(page: str) -> str:
    """The page with its tables as they should be."""
    tables = {"names": names, "errors": error_names}
    return TABLE.sub(lambda found: f"{found[1]}\n{tables[found[2]]()}\n{found[3]}", page)


if __name__ == "__main__":
    PAGE.write_text(render(PAGE.read_text("utf-8")), "utf-8")
