"""What is said of programs that die: each death, of one that goes on dying ever fewer, and the reason once.
Starting them again: processes.py.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from exchange_platform.local.processes import Processes, ProcessState
from exchange_platform.local.screen import Screen

KEEPS_DYING, LATELY_S = 3, 120.0
"""So many deaths within so long are a fault, and no accident."""


class Failures:
    """Remembers what was said, and each program's last words."""

    def __init__(self, processes: Processes, screen: Screen, log_dir: Path) -> None:
        self._processes = processes
        self._screen = screen
        self._log_dir = log_dir
        self._deaths: dict[str, int] = {}
        self._last_words: dict[str, str] = {}

    def say_new(self, states: Sequence[ProcessState], *, held: Collection[str] = ()) -> list[str]:
        """Say what is new, with a log where that says something new; returns what does not run, those left
        out that are held.
        """
        for state in states:
            if state.deaths > self._deaths.get(state.name, 0):
                self._deaths[state.name] = state.deaths
                self._say_death(state)
        return [
            f"{state.name} is {state.state.lower()}; see {self._log_dir / state.name}.log"
            for state in states
            if not state.runs and state.name not in held
        ]

    def noted(self) -> list[str]:
        """What can't be kept alive, and the reason."""
        why = self._processes.last_error
        noted = [f"supervisord: {why}; see logs/supervisord.log"] if why is not None else []
        for program in self._processes.programs:
            count = self._processes.deaths_lately(program.name, LATELY_S)
            if count >= KEEPS_DYING:
                words = self._last_words.get(program.name) or "it said nothing"
                noted.append(
                    f"{program.name}: it died {count} times in {LATELY_S:g} s, lastly: {words}; see logs/{program.name}.log"
                )
        return noted

    def show_log(self, name: str) -> None:
        """Show the end of a program's log."""
        self._screen.show_log(name, self._processes.last_lines(name))

    def _say_death(self, state: ProcessState) -> None:
        lines = self._processes.last_lines(state.name)
        words = next((line for line in reversed(lines) if line.strip()), "")
        is_news = words != self._last_words.get(state.name)
        self._last_words[state.name] = words
        is_power_of_two = state.deaths & (state.deaths - 1) == 0
        if is_power_of_two or (is_news and state.deaths < KEEPS_DYING):
            how = f" ({state.last_exit})" if state.last_exit else ""
            self._screen.warn(f"{state.name} died{how} and was started again ({state.deaths} times so far)")
            if state.deaths > 1 and is_news:
                self._screen.show_log(state.name, lines)
