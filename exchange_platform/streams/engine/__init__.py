"""The engine that reads a source and applies micro-batches to sinks. Not here: any source or sink."""
