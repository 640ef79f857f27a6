"""Convert a recorded run to HTML, Markdown or a script, with foreign content made inert."""
