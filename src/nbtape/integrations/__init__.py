"""Executors and tools for agent frameworks, one module or package per framework.

Behavior every framework shares belongs to `session`.
"""
