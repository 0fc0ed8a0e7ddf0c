"""The AWS emulator: moto, made fit for streams and messages that flow for hours."""
