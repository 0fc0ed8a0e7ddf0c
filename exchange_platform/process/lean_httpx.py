"""httpx without what it brings for its command line: some megabytes, where it finds them installed. Import
`httpx` from here.
"""

from exchange_platform.process.memory import keeping_out

with keeping_out("click", "pygments", "rich"):
    import httpx

__all__ = ["httpx"]
