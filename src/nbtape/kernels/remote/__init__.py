"""Kernels on a Jupyter server: its REST API, and the websocket that carries their channels.

Servers that nbtape starts itself are in `servers`.
"""
