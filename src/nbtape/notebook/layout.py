"""nbformat's layout of a notebook, which allows finding cells without parsing them.

A line of JSON is indented by one space per level, and strings contain no newlines. So the lines that open and close a
cell, or its outputs, are recognized by their beginning. This module imports nothing, so that `show` and `watch` start
fast.
"""

from __future__ import annotations

from typing import Final

HEAD: Final = b'{\n "cells": ['

#: The bytes before each cell except the first, which has no comma.
SEPARATOR: Final = b",\n  "

#: The bytes before the first cell.
FIRST: Final = SEPARATOR.removeprefix(b",")

#: The end of a cell, starting with its last line.
CELL_END: Final = b"\n  }"
