"""The agent's messages: code blocks, languages, transcripts, prompts.

Nothing here runs code; `session` does.
"""
