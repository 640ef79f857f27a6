"""Kernels that nbtape starts as processes on this machine, directly or forked by a fork server."""
