"""Which calls are let in: applications by their tokens, others by the rates of their address."""
