"""Where the lake keeps up to which position it holds each shard, and for which epoch. Not here: the contract
(stores/checkpoints.py).

A commit's positions travel in the commit's own DuckLake snapshot, as its `commit_extra_info`: atomic with the
data, and free, while changing a row of a table would double what a small commit costs. Claims, commits
without data and maintenance *fold* them into the table `checkpoints`. What counts is the table, overlaid by
the newest snapshot that carries positions.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import msgspec

from exchange_platform.process.decoders import json_decoder
from exchange_platform.stores.checkpoints import Advance, Superseded
from exchange_platform.stores.lake.connection import LakeConnection

_NEWEST = (
    "SELECT commit_extra_info FROM {snapshots} WHERE commit_extra_info IS NOT NULL"
    " ORDER BY snapshot_id DESC LIMIT 1"
)
_AUTHOR = "exchange-platform"


@dataclass(frozen=True, slots=True)
class HeldPositions:
    """Whose a shard is, and up to where the lake holds it."""

    epoch: int
    position: str | None


Positions = dict[str, dict[str, HeldPositions]]
"""By source, by shard."""

_decoder = json_decoder(dict[str, dict[str, HeldPositions]])
_encoder = msgspec.json.Encoder()


class LakeCheckpoints:
    """The checkpoints of a lake. Every method but `read` belongs into a writing transaction of the
    connection.
    """

    def __init__(self, lake: LakeConnection) -> None:
        self._lake = lake

    def read(self, source: str) -> dict[str, HeldPositions]:
        """Every shard of the source."""
        return {**self._folded().get(source, {}), **self._carried().get(source, {})}

    def claim(self, source: str, epoch: int, shards: Sequence[str]) -> dict[str, str | None]:
        """Make the shards this epoch's; returns their positions. Raises `Superseded`, and claims none, if a
        newer epoch holds one.
        """
        held = self.read(source)
        for shard in shards:
            if shard in held and held[shard].epoch > epoch:
                raise Superseded(
                    f"lake: {source} {shard}: epoch {held[shard].epoch} holds it, this is {epoch}"
                )
        positions = {shard: held[shard].position if shard in held else None for shard in shards}
        claimed = {shard: HeldPositions(epoch, position) for shard, position in positions.items()}
        self._fold({source: {**held, **claimed}})
        self._carry({**self._carried(), source: claimed}, f"claim by epoch {epoch}")
        return positions

    def advance(self, source: str, epoch: int, steps: Sequence[Advance]) -> bool:
        """Assert that this epoch holds the shards where it last left them, and let the transaction's snapshot
        carry the new positions.

        Says whether there is anything to commit: not if these very steps were committed already, as when the
        answer to a commit was lost and it is tried again. Raises `Superseded`. A transaction that turns out
        to write no data must `fold`.
        """
        if not steps:
            return True
        carried = self._carried()
        held = carried.setdefault(source, {})
        if any(step.shard not in held for step in steps):
            folded = self._folded().get(source, {})
            held.update(
                (step.shard, folded[step.shard])
                for step in steps
                if step.shard in folded and step.shard not in held
            )
        moved = [step for step in steps if step.position != step.expected]
        if moved and all(held.get(step.shard) == HeldPositions(epoch, step.position) for step in steps):
            return False
        for step in steps:
            if held.get(step.shard) != HeldPositions(epoch, step.expected):
                raise Superseded(
                    f"lake: {source} {step.shard}: epoch {epoch} expected to hold it at {step.expected}, the lake says"
                    f" {held.get(step.shard)}; a newer consumer took over"
                )
            held[step.shard] = HeldPositions(epoch, step.position)
        self._carry(carried, f"{source} by epoch {epoch}")
        return True

    def set_back(self, source: str, shard: str) -> bool:
        """Let the shard be read from its beginning; says whether the lake knows it. Whoever holds it is
        superseded at its next commit.
        """
        held = self.read(source)
        if shard not in held:
            return False
        begins = {shard: HeldPositions(held[shard].epoch, None)}
        self._fold({source: {**held, **begins}})
        carried = self._carried()
        self._carry({**carried, source: {**carried.get(source, {}), **begins}}, f"{source} {shard} set back")
        return True

    def check_not_superseded(self, source: str, epoch: int, shards: Collection[str] | None = None) -> None:
        """Raise `Superseded` if a newer epoch holds any of these of the source's shards (None: of all)."""
        newest = max(
            (held.epoch for shard, held in self.read(source).items() if shards is None or shard in shards),
            default=epoch,
        )
        if newest > epoch:
            raise Superseded(f"lake: {source}: epoch {newest} holds it, this is {epoch}")

    def fold(self, source: str, epoch: int, steps: Sequence[Advance]) -> None:
        """Write these steps into the table: a snapshot without data would not be made, and carry nothing."""
        self._fold({source: {step.shard: HeldPositions(epoch, step.position) for step in steps}})

    def fold_all(self) -> None:
        """Write what the newest snapshot carries into the table, so that snapshots can be dropped."""
        self._fold(self._carried())

    def _carried(self) -> Positions:
        if self._lake.is_sqlite:
            rows = self._lake.catalog_rows(_NEWEST.format(snapshots="ducklake_snapshot_changes"))
        else:
            # Through DuckLake, whose transaction begins after the lock was taken: PostgreSQL itself shows the
            # transaction that waited for the lock how things were before it waited.
            rows = self._lake.session.execute(
                _NEWEST.format(snapshots="ducklake_snapshots('lake')")
            ).fetchall()
        return _decoder.decode(rows[0][0]) if rows else {}

    def _folded(self) -> Positions:
        positions: Positions = {}
        for source, shard, epoch, position in self._lake.session.execute(
            "SELECT source, shard, epoch, position FROM checkpoints"
        ).fetchall():
            positions.setdefault(source, {})[shard] = HeldPositions(epoch, position)
        return positions

    def _carry(self, positions: Positions, message: str) -> None:
        self._lake.session.execute(
            "CALL ducklake_set_commit_message('lake', ?, ?, extra_info => ?)",
            [_AUTHOR, message, _encoder.encode(positions).decode()],
        )

    def _fold(self, positions: Positions) -> None:
        folded = self._folded()
        connection = self._lake.session
        for source, shards in positions.items():
            for shard, held in shards.items():
                known = folded.get(source, {}).get(shard)
                if known == held:
                    continue
                if known is not None:
                    connection.execute(
                        "DELETE FROM checkpoints WHERE source = ? AND shard = ?", [source, shard]
                    )
                connection.execute(
                    "INSERT INTO checkpoints (source, shard, epoch, position) VALUES (?, ?, ?, ?)",
                    [source, shard, held.epoch, held.position],
                )
