"""What one process of the API looks for on behalf of all of its clients, and remembers of what it found."""
