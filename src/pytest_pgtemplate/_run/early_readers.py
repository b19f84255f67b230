"""Find a module that has read a variable of ``pg_env`` before the plugin could set it.

Python does not record reads of environment variables. So the plugin searches all modules for the
value, if it is a URL. Another value may occur by chance, and an unset variable has none. In these
cases the plugin searches the code of the project that runs when a module is imported.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType


def find_reader(name: str, root: Path) -> str | None:
    """Return a module below ``root`` that reads the variable ``name`` when it is imported."""
    for module_name, module in list(sys.modules.items()):
        file = Path(getattr(module, "__file__", None) or "")
        if file.suffix == ".py" and file.is_relative_to(root) and "site-packages" not in file.parts:
            try:
                source = file.read_text("utf-8")
                if name in source and any(_is_read(n, name) for n in _run_on_import(source)):
                    return module_name
            except (OSError, ValueError, SyntaxError):
                continue
    return None


def _run_on_import(source: str) -> Iterator[ast.AST]:
    """Yield all nodes that are not part of a function."""
    nodes: list[ast.AST] = [ast.parse(source)]
    while nodes:
        node = nodes.pop()
        yield node
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            nodes += ast.iter_child_nodes(node)


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


def find_holder(value: str) -> str | None:
    """Return the variable of a module, or the attribute of its value, that equals ``value``.

    Lazy objects must not be evaluated: so it uses ``type(thing)``, not ``isinstance``.
    """
    for module_name, module in list(sys.modules.items()):
        for name, thing in _attributes(module):
            if _is_value(thing, value):
                return f"{module_name}.{name}"
            if not issubclass(type(thing), (type, ModuleType)):
                for inner, each in _attributes(thing):
                    if _is_value(each, value):
                        return f"{module_name}.{name}.{inner}"
    return None


def _attributes(thing: object) -> list[tuple[str, object]]:
    try:
        found = object.__getattribute__(thing, "__dict__")
    except AttributeError:
        return []
    return list(found.items())


def _is_value(thing: object, value: str) -> bool:
    return issubclass(type(thing), str) and thing == value
