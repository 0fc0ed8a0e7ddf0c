"""A simulated exchange: fixtures, order books, traders, settlement; it publishes to Kinesis as a real
exchange would.
"""
