"""Write the generated parts of docs/api.md: python docs/.api.py"""

import dataclasses
import inspect
import re
from pathlib import Path

import pytest_pgtemplate
from pytest_pgtemplate import errors

PAGE = Path(__file__).with_name("api.md")
PART = re.compile(r"(<!-- (\w+): written by docs/\.api\.py -->\n).*?(<!-- end -->\n)", re.DOTALL)
SCHEMA = ("Alembic", "Metadata", "SqlFiles", "Command", "Migrations", "Target")
OBJECTS = ("Database", "Template", "Server")
# Their members, with a description if they have no docstring.
MEMBERS = {
    "Migrations": {"fingerprint": "", "migrate": ""},
    "Target": {
        "url": "The URL of the database, with the password.",
        "timeout": "The seconds after which the migrations are stopped.",
        "env": "Environment variables for child processes: those of `pg_env`.",
        "applied": "The revisions that the database already contains.",
    },
    "Database": {
        "name": "The name of the database.",
        "url": "The URL with the configured driver and the password, a SQLAlchemy `URL`.",
        "template": "The template from which the database was cloned.",
        "dsn": "",
        "psql": "",
    },
    "Template": {
        "name": "The name of the template's database.",
        "fingerprint": "The digest of everything that determines the schema.",
        "built": "Whether this process built the template; `False` if it existed.",
    },
    "Server": {
        "url": "The URL of the server with the password, a SQLAlchemy `URL`.",
        "version": "The version of PostgreSQL, for example `18.6`.",
    },
}
TYPES = {"Server.url": "URL"}  # of an attribute that only __init__ sets
RETURNED = {"Database", "Migrations", "Server", "Target", "Template"}  # users do not create them


def names() -> str:
    """The names that a conftest.py can import, with their signatures."""
    rows = [(name, getattr(pytest_pgtemplate, name)) for name in pytest_pgtemplate.__all__]
    return table("name", [(f"{name}{signature(each)}", first_line(each)) for name, each in rows])


def schema() -> str:
    return "\n".join(map(section, SCHEMA))


def objects() -> str:
    return "\n".join(map(section, OBJECTS))


def error_names() -> str:
    own = [each for each in vars(errors).values() if is_own(each)]
    return table("error", [(each.__name__, first_line(each)) for each in own])


def is_own(each: object) -> bool:
    return isinstance(each, type) and each.__module__ == errors.__name__


def section(name: str) -> str:
    """A heading, the signature, the docstring and the members of a class."""
    cls = getattr(pytest_pgtemplate, name)
    parts = [f"### {name}", f"`{name}{signature(cls)}`" if signature(cls) else "", text(cls)]
    if name in MEMBERS:
        parts.append(table("member", [member(cls, *each) for each in MEMBERS[name].items()]))
    return "\n\n".join(part.rstrip() for part in parts if part) + "\n"


def member(cls: type, name: str, description: str) -> tuple[str, str]:
    """A row: the signature of a method, or the type of an attribute."""
    found = inspect.getattr_static(cls, name, None)
    path = f"{cls.__name__}.{name}"
    if inspect.isfunction(found):
        parameters = list(inspect.signature(found).parameters.values())[1:]
        returned = inspect.signature(found).return_annotation
        return f"{path}{without_types(parameters)}: {returned}", description or first_line(found)
    if isinstance(found, property):
        returned = inspect.signature(found.fget).return_annotation
        return f"{path}: {returned}", description or first_line(found)
    annotation = TYPES.get(path) or inspect.get_annotations(cls)[name]
    return f"{path}: {getattr(annotation, '__forward_arg__', annotation)}", description


def signature(cls: type) -> str:
    """The parameters, without types; nothing for a class that users do not create."""
    if cls.__name__ in RETURNED:
        return ""
    factories = {}
    if dataclasses.is_dataclass(cls):
        factories = {each.name: each.default_factory for each in dataclasses.fields(cls)}
    return without_types(
        each.replace(default=factories[each.name]()) if callable(factories.get(each.name)) else each
        for each in inspect.signature(cls).parameters.values()
    )


def without_types(parameters: object) -> str:
    return str(inspect.Signature([each.replace(annotation=each.empty) for each in parameters]))


def table(heading: str, rows: list[tuple[str, str]]) -> str:
    lines = [f"| {heading} | |", "|---|---|"]
    lines += [f"| `{name.replace('|', chr(92) + '|')}` | {line} |" for name, line in rows]
    return "\n".join(lines) + "\n"


def text(each: object) -> str:
    """The docstring as Markdown."""
    return (inspect.getdoc(each) or "").replace("``", "`")


def first_line(each: object) -> str:
    return " ".join(text(each).partition("\n\n")[0].split())


def render(page: str) -> str:
    """The page with its generated parts as they should be."""
    parts = {"names": names, "schema": schema, "objects": objects, "errors": error_names}
    return PART.sub(lambda found: f"{found[1]}\n{parts[found[2]]()}\n{found[3]}", page)


if __name__ == "__main__":
    PAGE.write_text(render(PAGE.read_text("utf-8")), "utf-8")
