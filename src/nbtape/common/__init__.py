"""Helpers that do not depend on kernels or notebooks, each module named by what it does.

Anything that mentions a cell, a kernel or a notebook belongs to the package of that name.
"""
