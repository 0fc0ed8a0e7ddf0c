"""The command line's edge: one clear line on stderr for every error, never a traceback. Not here: the
commands (app.py).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from exchange_platform.process.private_files import keep_new_files_private
from exchange_platform.process.visible_text import visible

PROGRAM = "exchange-platform"
DEBUG = "EXCHANGE_PLATFORM_DEBUG"


def main() -> None:
    """Run the command that the process was started with, and exit with its status."""
    keep_new_files_private()
    status = run(sys.argv[1:])
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _let_go_of_stdout()
    sys.exit(status)


def run(arguments: Sequence[str]) -> int:
    """Run one command; returns its exit status. Every error becomes one line on stderr.

    0: done. 1: it went wrong, or what was asked about is not well. 2: the arguments are wrong. 130:
    interrupted. With `EXCHANGE_PLATFORM_DEBUG=1` an error is raised with its traceback instead.
    """
    from typer.exceptions import Abort, Exit, TyperException

    from exchange_platform.cli.app import app

    try:
        result = app(list(arguments), prog_name=PROGRAM, standalone_mode=False)
    except TyperException as error:
        return _say_usage(error)
    except Exit as end:
        return end.exit_code
    except (Abort, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
        return 130
    except SystemExit:  # typer's own, and only for a broken pipe: every other end comes as an exception above
        _let_go_of_stdout()
        return 0
    except Exception as error:
        if os.environ.get(DEBUG) == "1":
            raise
        print(f"{PROGRAM}: {_told(error)}", file=sys.stderr)
        return 1
    return result if isinstance(result, int) else 0


def _say_usage(error: Exception) -> int:
    """Say what is wrong with the arguments. No arguments at all are a request for help, not a mistake."""
    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()  # type: ignore[attr-defined]
        return 0
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else PROGRAM
    message = " ".join(error.format_message().split()).replace("Value error, ", "")  # type: ignore[attr-defined]
    print(f"{PROGRAM}: {visible(message.rstrip('.'))}. See: {command} --help", file=sys.stderr)
    return int(getattr(error, "exit_code", 2))


def _told(error: Exception) -> str:
    """The library's own errors are written for whoever reads them; of any other its type is said too."""
    message = " ".join(visible(str(error)).split())
    if type(error).__module__.startswith("exchange_platform.") and message:
        return message
    return f"{type(error).__name__}: {message or 'no details'} (with {DEBUG}=1 you see where)"


def _let_go_of_stdout() -> None:
    """The reader of a pipe went away (`| head`): nothing is wrong, and the interpreter's own last flush must
    not say so.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
