"""The documentation site: its Sphinx configuration, and the generated parts of its reference."""
