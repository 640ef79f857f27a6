"""Jupyter servers that nbtape starts and stops: as a process or in a container.

Servers run by someone else are only connected to; that is `kernels.remote`.
"""
