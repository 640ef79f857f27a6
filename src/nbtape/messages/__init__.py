"""What the agent writes: code blocks, languages, transcripts, prompts.

Nothing here runs code; that is `session`.
"""
