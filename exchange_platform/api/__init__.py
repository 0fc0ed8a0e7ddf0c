"""The HTTP API and its pages. One application; a room of routes for each subject."""
