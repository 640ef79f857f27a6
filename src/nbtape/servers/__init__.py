"""Jupyter servers that nbtape starts and stops, as a process or in a container.

`kernels.remote` connects to servers, including those that nbtape did not start.
"""
