"""How nbformat lays a notebook out, so that its cells can be told apart without being parsed.

A line in JSON begins with a blank for each level that it is deep, and no text in it can hold a newline: so the lines
that open and close a cell, or its outputs, are known by their beginning.
"""

from __future__ import annotations

from typing import Final

HEAD: Final = b'{\n "cells": ['

#: What stands before each cell but the first, which has no comma.
SEPARATOR: Final = b",\n  "
#: What stands before the first.
FIRST: Final = SEPARATOR.removeprefix(b",")

#: The end of a cell, from its last line on.
CELL_END: Final = b"\n  }"
