"""Finds the module that has read a variable of ``pg_env`` before the plugin could set it.

Nothing records who reads an environment variable. A URL is looked for as a value, in all modules.
Other values may be there by chance, and a variable that was not set has none: for those the plugin
looks at the code of the project's modules, as far as it runs when they are imported.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType


def find_reader(name: str, root: Path) -> str | None:
    """A module below ``root`` that reads the variable ``name`` when it is imported."""
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
    """All that is no part of a function."""
    nodes: list[ast.AST] = [ast.parse(source)]
    while nodes:
        node = nodes.pop()
        yield node
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            nodes += ast.iter_child_nodes(node)


def _is_read(node: ast.AST, name: str) -> bool:
    """``environ["NAME"]``, ``getenv("NAME")``, and other calls that begin with the name."""
    match node:
        case ast.Subscript(slice=ast.Constant(value=value), ctx=ast.Load()):
            return value == name
        case ast.Call(func=ast.Attribute(attr="setdefault" | "pop" | "setenv" | "delenv")):
            return False
        case ast.Call(args=[ast.Constant(value=value), *_]):
            return value == name
    return False


def find_holder(value: str) -> str | None:
    """Where an imported module has ``value``: by a name, or an attribute of what it names.

    It must not wake what is lazy: so ``type(thing)``, not ``isinstance``.
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
