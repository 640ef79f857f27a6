"""Pre-started kernels, kept ready for sessions.

How a single kernel starts is in `kernels`.
"""
