"""Consumers with their checkpoints, dead letters, and lost spans."""
