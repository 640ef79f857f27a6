"""Kernels that nbtape starts as processes on this machine, directly or forked from a warm parent."""
