"""Where kernels come from: the protocols, starting, and the handshake before the first cell.

What runs cells on a kernel is `session`; Jupyter servers that nbtape starts are `servers`.
"""
