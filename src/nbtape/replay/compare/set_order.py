"""Sets as they are printed, their elements put in order: how Python orders them differs from process to process."""

from __future__ import annotations

import ast
import warnings
from typing import Final

#: Longer texts, larger sets, and those in deeper braces stay as they are (characters, characters, levels).
_LONGEST_TEXT: Final = 400_000
_LONGEST: Final = 20_000
_DEEPEST: Final = 6


def sort_sets(text: str) -> str:
    """A text with the elements of each set of literals that it holds in order.

    What Python's parser does not take for a set, as dicts, JSON and CSS, stays as it is.
    """
    if "{" not in text or "," not in text or len(text) > _LONGEST_TEXT:
        return text
    parts: list[str] = []
    end = 0
    for start, stop in _braces(text):
        parts += [text[end:start], _sorted(text[start:stop], 0)]
        end = stop
    return "".join([*parts, text[end:]])


def _braces(text: str) -> list[tuple[int, int]]:
    """Where the outermost pairs of braces begin and end; what is too long or never closed is looked into."""
    pairs: list[tuple[int, int]] = []
    opened: list[int] = []
    for position, char in enumerate(text):
        if char == "{":
            opened.append(position)
        elif char == "}" and opened:
            start = opened.pop()
            if position - start < _LONGEST:
                while pairs and pairs[-1][0] > start:
                    pairs.pop()
                pairs.append((start, position + 1))
    return pairs


def _sorted(text: str, depth: int) -> str:
    """A text in braces, its elements in order if it is a set; else with the sets in it in order."""
    if "," not in text:
        return text
    parsed = _parse(text)
    if isinstance(parsed, ast.Set) and all(map(_is_literal, parsed.elts)):
        try:
            return _written(parsed)
        except RecursionError:
            return text
    if depth >= _DEEPEST:
        return text
    inner, parts, end = text[1:-1], [], 0
    for start, stop in _braces(inner):
        parts += [inner[end:start], _sorted(inner[start:stop], depth + 1)]
        end = stop
    return "".join(["{", *parts, inner[end:], "}"])


def _parse(text: str) -> ast.expr | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of escapes that are none, and of "is" with a literal
            return ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return None


def _is_literal(node: ast.expr) -> bool:
    """Whether an element is a value: names in braces are formulas, templates or words of a shell."""
    return all(isinstance(part, _LITERAL) or _is_called(part) for part in ast.walk(node))


_LITERAL: Final = (
    ast.Constant, ast.Tuple, ast.Set, ast.UnaryOp, ast.USub, ast.Call, ast.expr_context, ast.keyword, ast.List,
    ast.BinOp, ast.Add, ast.Sub, ast.Attribute,
)  # fmt: skip

#: What reprs of values that can be elements call.
_CALLED: Final = {"frozenset", "Timestamp", "Decimal", "Fraction", "datetime", "date", "np", "UUID", "PosixPath"}


def _is_called(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and node.id in _CALLED


def _written(node: ast.AST) -> str:
    """The source of a value, all sets in it in order."""
    if isinstance(node, ast.Set):
        return "{" + ", ".join(sorted(map(_written, node.elts))) + "}"
    if isinstance(node, ast.Tuple):
        return "(" + ", ".join(map(_written, node.elts)) + ("," if len(node.elts) == 1 else "") + ")"
    if isinstance(node, ast.Call) and len(node.args) == 1 and not node.keywords:
        return f"{_written(node.func)}({_written(node.args[0])})"
    return ast.unparse(node)
