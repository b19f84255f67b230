"""Find a module that has read a variable of ``pg_env`` before the plugin could set it.

Python does not record reads of environment variables. So the plugin searches all modules for the
value, if it is a URL. Another value may occur by chance, and an unset variable has none. In these
cases the plugin searches the fields of settings objects, and the code of the project that runs when
a module is imported.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from types import ModuleType
from typing import Any

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_SETUP_METHODS = ("__new__", "__init__", "__post_init__")
_URL_LIBRARIES = ("sqlalchemy", "pydantic", "pydantic_core", "starlette", "yarl")


def find_reader(name: str, root: Path) -> str | None:
    """Return a module below ``root`` that reads the variable ``name`` when it is imported."""
    for module_name, module in list(sys.modules.items()):
        file = Path(getattr(module, "__file__", None) or "")
        if file.suffix == ".py" and file.is_relative_to(root) and "site-packages" not in file.parts:
            try:
                source = file.read_text("utf-8")
                if name in source and any(
                    _is_read(node, name) for node in _nodes_run_on_import(source)
                ):
                    return module_name
            except (OSError, ValueError, SyntaxError):
                continue
    return None


def _nodes_run_on_import(source: str) -> Iterator[ast.AST]:
    """Yield all nodes that are not part of a function, or of one that the module calls itself."""
    module = ast.parse(source)
    functions = _callable_functions(module)
    nodes: list[ast.AST] = [module]
    while nodes:
        node = nodes.pop()
        yield node
        if not isinstance(node, (*_FUNCTIONS, ast.Lambda)):
            nodes += ast.iter_child_nodes(node)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            # Removed by ``pop``, so that a recursive function is searched only once.
            nodes += chain.from_iterable(each.body for each in functions.pop(node.func.id, ()))


def _callable_functions(module: ast.Module) -> dict[str, list[ast.FunctionDef]]:
    """Return what a call of each name in ``module`` runs: a function, or the setup of an object."""
    found: dict[str, list[ast.FunctionDef]] = {}
    for node in module.body:
        if isinstance(node, ast.FunctionDef):
            found[node.name] = [node]
        elif isinstance(node, ast.ClassDef):
            methods = [each for each in node.body if isinstance(each, ast.FunctionDef)]
            found[node.name] = [each for each in methods if each.name in _SETUP_METHODS]
    return found


def _is_read(node: ast.AST, name: str) -> bool:
    """Whether it is ``environ["NAME"]``, ``getenv("NAME")`` or a similar call."""
    match node:
        case ast.Subscript(slice=ast.Constant(value=value), ctx=ast.Load()):
            return value == name
        case ast.Call(func=ast.Attribute(attr="setdefault" | "pop" | "setenv" | "delenv")):
            return False
        case ast.Call(args=[ast.Constant(value=value), *_]):
            return value == name
    return False


def find_settings_field(variable: str) -> str | None:
    """Return the field of a settings object (pydantic-settings) that reads ``variable``.

    The object reads it when it is created, and no code contains the name of the variable.
    """
    if "pydantic_settings" not in sys.modules:
        return None
    for name, thing in _module_variables():
        kind: Any = type(thing)
        if any(str(base.__module__).startswith("pydantic_settings.") for base in kind.__mro__):
            prefix = kind.model_config.get("env_prefix", "")
            for field, about in kind.model_fields.items():
                read = about.validation_alias or f"{prefix}{field}"
                if str(read).lower() == variable.lower():
                    return f"{name}.{field}"
    return None


def find_holder(url: str) -> str | None:
    """Return the variable of a module, or the attribute of its value, that holds ``url``.

    The driver may be another one. Lazy objects must not be evaluated: so it uses ``type(thing)``,
    not ``isinstance``.
    """
    address = url[url.index("://") :]
    for name, thing in _module_variables():
        if _is_url(thing, address):
            return name
        if not issubclass(type(thing), (type, ModuleType)):
            for inner, each in _attributes(thing):
                if _is_url(each, address):
                    return f"{name}.{inner}"
    return None


def _module_variables() -> Iterator[tuple[str, object]]:
    for module_name, module in list(sys.modules.items()):
        for name, thing in _attributes(module):
            yield f"{module_name}.{name}", thing


def _attributes(thing: object) -> list[tuple[str, object]]:
    try:
        found = object.__getattribute__(thing, "__dict__")
    except AttributeError:
        return []
    return list(found.items())


def _is_url(thing: Any, address: str) -> bool:
    kind = type(thing)
    if not issubclass(kind, str):
        library = str(kind.__module__).partition(".")[0]
        if library not in _URL_LIBRARIES or not kind.__name__.endswith(("URL", "Url", "Dsn")):
            return False
        show = getattr(thing, "render_as_string", None)  # SQLAlchemy's str() hides the password
        thing = show(hide_password=False) if show else str(thing)
    return str.endswith(thing, address)
