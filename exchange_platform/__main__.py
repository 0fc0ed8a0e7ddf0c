"""`python -m exchange_platform` is `exchange-platform`."""

from exchange_platform.cli import main

if __name__ == "__main__":
    main()
