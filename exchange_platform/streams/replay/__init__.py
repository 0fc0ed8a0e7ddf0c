"""Dead letters, replayed."""
