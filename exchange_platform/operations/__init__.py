"""What operators see and set going: status, checks, supervision, figures, restoring."""
