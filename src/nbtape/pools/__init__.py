"""Pre-started kernels for sessions.

`kernels` starts a single kernel.
"""
