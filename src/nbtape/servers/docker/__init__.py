"""Jupyter servers in Docker containers: image, isolation, and the container's lifecycle."""
