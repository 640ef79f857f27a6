"""Executors and tools for agent frameworks, one module or package per framework.

Behavior that all frameworks share belongs in `session`.
"""
