"""Where what is known is kept: the operational database, the lake, the profile view."""
