"""The outbox of changes, and the mails that wait, are sent, skipped or dead."""
