"""Sources of kernels: the protocols, starting, and the handshake before the first cell.

`session` runs cells on a kernel; Jupyter servers that nbtape starts are in `servers`.
"""
