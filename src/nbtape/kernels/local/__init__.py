"""Kernels that nbtape starts as local processes, directly or through a fork server."""
