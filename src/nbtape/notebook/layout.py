"""How nbformat lays out a notebook, so that cells can be told apart without parsing them.

A line of JSON is indented by one space per level, and no string in it holds a newline. So the lines that open and
close a cell, or its outputs, are known by how they begin. This module imports nothing: `show` and `watch` start fast.
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
