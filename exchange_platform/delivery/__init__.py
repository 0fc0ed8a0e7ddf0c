"""What delivers an outbox: a run with channels, their positions and marks."""
