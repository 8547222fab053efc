"""Formatting of what the journal and the state say; pure functions."""
