"""Convert a recorded run to HTML, Markdown or a script, with untrusted content made inert."""
