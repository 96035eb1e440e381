"""CPython as the oracle: a process of its own executes programs of the common subset and says what came out.

It reads one JSON text a line (the source) and answers one line: ["ok", result] or ["raised", exception].
In one thing the language is stricter than CPython: a list, too, keeps its size while it is walked, and a
dict its keys, on whatever release (CPython looks at the size of a dict alone). So every walk of a program is
made to look after that (`_Walks`).
"""

from __future__ import annotations

import ast
import json
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

SECONDS_MAX = 2
MEMORY_MAX = 512 * 1024 * 1024
SAME = {
    "ZERO_DIVISION": ("ZeroDivisionError",),
    "KEY_ERROR": ("KeyError",),
    "INDEX_ERROR": ("IndexError",),
    "VALUE_ERROR": ("ValueError", "OverflowError"),
    "TYPE_ERROR": ("TypeError", "AttributeError"),
    "UNBOUND": ("UnboundLocalError",),
    "ASSERTION": ("AssertionError",),
    "CHANGED_WHILE_WALKED": ("RuntimeError",),
}
"""Which exceptions of CPython mean what a code of ours does."""


class Oracle:
    """The process; a context manager that ends it."""

    def __init__(self) -> None:
        """Start it."""
        command = [sys.executable, str(Path(__file__))]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> Oracle:
        """Serve until the block ends."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the process."""
        self._process.communicate()

    def ask(self, source: str) -> list[Any]:
        """Return ["ok", result] or ["raised", name of the exception]."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(source) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        return list(answer)


def _plain(value: Any) -> Any:
    """Return a result as the ledger's JSON shows it."""
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return {"$bytes": value.hex()} if isinstance(value, bytes) else value


# --- walks -----------------------------------------------------------------------------------------------


class _Walks(ast.NodeTransformer):
    """Lets every loop and comprehension walk through the functions below."""

    def visit_For(self, node: ast.For) -> ast.AST:
        """Change what a loop walks."""
        self.generic_visit(node)
        node.iter = self.walk(node.iter)
        return node

    def visit_comprehension(self, node: ast.comprehension) -> ast.AST:
        """Change what a comprehension walks."""
        self.generic_visit(node)
        node.iter = self.walk(node.iter)
        return node

    def walk(self, node: ast.expr) -> ast.expr:
        """Return an expression that walks the same and looks after it."""
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            if node.func.id in ("enumerate", "zip"):
                node.args = [self.walk(argument) for argument in node.args]
                return node
            if node.func.id == "reversed":
                return _call("_backwards", node.args[0])
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "items":
            return _call("_pairs", node.func.value)
        return _call("_steady", node)


def _call(name: str, argument: ast.expr) -> ast.Call:
    return ast.Call(ast.Name(name, ast.Load()), [argument], [])


def _steady(walked: Any) -> Iterator[Any]:
    """Walk a list of one size, or a dict of the same keys; anything else as CPython does."""
    if isinstance(walked, dict):
        return (key for key, _ in _pairs(walked))
    if not hasattr(walked, "__len__"):  # a generator, whose own walk looks after what it walks
        return iter(walked)
    return _of_one_size(walked, iter(walked))


def _backwards(walked: Any) -> Iterator[Any]:
    return _of_one_size(walked, reversed(walked))


def _of_one_size(walked: Any, items: Iterator[Any]) -> Iterator[Any]:
    size = len(walked)
    for item in items:
        yield item
        if len(walked) != size:
            raise RuntimeError


def _pairs(walked: Any) -> Iterator[tuple[Any, Any]]:
    keys = list(walked)
    for key in keys:
        if len(walked) != len(keys) or key not in walked:
            raise RuntimeError
        yield key, walked[key]
    if list(walked) != keys:
        raise RuntimeError


WALKS: dict[str, Callable[[Any], Any]] = {"_steady": _steady, "_backwards": _backwards, "_pairs": _pairs}


def _stop(*_: object) -> None:
    raise TimeoutError


def _executed(source: str) -> list[Any]:
    names: dict[str, Any] = {"export": lambda function: function, **WALKS}
    signal.setitimer(signal.ITIMER_REAL, SECONDS_MAX)
    try:
        tree = ast.fix_missing_locations(_Walks().visit(ast.parse(source)))
        exec(compile(tree, "generated", "exec"), names)  # noqa: S102  (our own generated text)
        return ["ok", _plain(names["main"]())]
    except Exception as error:
        return ["raised", type(error).__name__]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _serve() -> None:
    sys.set_int_max_str_digits(0)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_MAX,) * 2)
    signal.signal(signal.SIGALRM, _stop)
    for line in sys.stdin:
        print(json.dumps(_executed(json.loads(line))), flush=True)


if __name__ == "__main__":
    _serve()
