"""Kernels on a Jupyter server: its REST API, and the websocket for their channels.

Servers that nbtape starts are in `servers`.
"""
