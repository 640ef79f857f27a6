"""Code that runs inside kernel processes; it is read as text and sent there.

Modules in this package must not import nbtape.
"""
