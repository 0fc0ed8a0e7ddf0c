"""What records are applied to: one module a store."""
