"""The index of events that type-ahead asks, on either engine."""
