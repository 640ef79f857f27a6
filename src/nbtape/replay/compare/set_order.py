"""Sort the elements of printed sets, whose order differs between Python processes."""

from __future__ import annotations

import ast
import warnings
from typing import Final

_MAX_TEXT_CHARS: Final = 400_000
_MAX_SET_CHARS: Final = 20_000
_MAX_DEPTH: Final = 6


def sort_sets(text: str) -> str:
    """Sort each set of literals in a text. Everything else in braces, such as dicts, JSON and CSS, stays unchanged."""
    if "{" not in text or "," not in text or len(text) > _MAX_TEXT_CHARS:
        return text
    return _sort_within(text, 0)


def _sort_within(text: str, depth: int) -> str:
    parts, end = [], 0
    for start, stop in _braces(text):
        parts += [text[end:start], _sort(text[start:stop], depth)]
        end = stop
    return "".join([*parts, text[end:]])


def _braces(text: str) -> list[tuple[int, int]]:
    """Find the outermost pairs of braces that are closed and short enough."""
    pairs: list[tuple[int, int]] = []
    opened: list[int] = []
    for position, char in enumerate(text):
        if char == "{":
            opened.append(position)
        elif char == "}" and opened:
            start = opened.pop()
            if position - start < _MAX_SET_CHARS:
                while pairs and pairs[-1][0] > start:
                    pairs.pop()
                pairs.append((start, position + 1))
    return pairs


def _sort(text: str, depth: int) -> str:
    """Sort a text in braces if it is a set, otherwise the sets inside it."""
    if "," not in text:
        return text
    parsed = _parse(text)
    if isinstance(parsed, ast.Set) and all(map(_is_literal, parsed.elts)):
        try:
            return _format(parsed)
        except RecursionError:
            return text
    if depth >= _MAX_DEPTH:
        return text
    return "{" + _sort_within(text[1:-1], depth + 1) + "}"


def _parse(text: str) -> ast.expr | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes, "is" with a literal
            return ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return None


def _is_literal(node: ast.expr) -> bool:
    """Whether an element is a value; other names in braces are formulas, templates or shell code."""
    return all(
        part.id in _CALLED if isinstance(part, ast.Name) else isinstance(part, _LITERAL) for part in ast.walk(node)
    )


_LITERAL: Final = (
    ast.Constant, ast.Tuple, ast.Set, ast.UnaryOp, ast.USub, ast.Call, ast.expr_context, ast.keyword, ast.List,
    ast.BinOp, ast.Add, ast.Sub, ast.Attribute,
)  # fmt: skip

#: Names in the reprs of hashable values.
_CALLED: Final = {"frozenset", "Timestamp", "Decimal", "Fraction", "datetime", "date", "np", "UUID", "PosixPath"}


def _format(node: ast.AST) -> str:
    """Format a value with sorted sets."""
    if isinstance(node, ast.Set):
        return "{" + ", ".join(sorted(map(_format, node.elts))) + "}"
    if isinstance(node, ast.Tuple):
        return "(" + ", ".join(map(_format, node.elts)) + ("," if len(node.elts) == 1 else "") + ")"
    if isinstance(node, ast.Call) and len(node.args) == 1 and not node.keywords:
        return f"{_format(node.func)}({_format(node.args[0])})"
    return ast.unparse(node)
