"""The markets of the simulated exchange: books, orders, traders, settlement."""
