"""What records come from: Kinesis, and the exchange's feed."""
