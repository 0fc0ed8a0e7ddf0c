"""The migrations are one chain: two of the same number, as from two changes that were made side by side, stop every start."""

from __future__ import annotations

from alembic.script import ScriptDirectory

from exchange_platform.stores.schema import _alembic_config


def test_the_migrations_are_one_chain_in_the_order_of_their_numbers() -> None:
    scripts = [
        (one.revision, one.down_revision, one.module.__name__)
        for one in reversed(list(ScriptDirectory.from_config(_alembic_config()).walk_revisions()))
    ]
    numbers = [f"{number:04d}" for number in range(1, len(scripts) + 1)]
    assert [(revision, down) for revision, down, _ in scripts] == list(
        zip(numbers, [None, *numbers], strict=False)
    )
    assert [name[:4] for *_, name in scripts] == numbers
