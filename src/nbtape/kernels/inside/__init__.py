"""Code that runs inside a kernel process, read as text and sent there.

Modules here import nothing of nbtape.
"""
