"""Evaluates the reconciliation checks every minute without starting a run. Not here: the checks
(exchange_platform/operations/checks/).
"""

from collections.abc import Iterable

import dagster as dg
import msgspec

from assets.checks import (
    ALL,
    BY_THEMSELVES,
    CONSUMERS_ALIVE,
    DATABASES_WHOLE,
    INDEX_AGREES,
    LAKE_AGREES,
    LAKE_FILES_WHOLE,
    LOST_SPANS,
    MACHINE_WELL,
    NO_FAILED_RUNS,
    NO_NEW_DEAD_LETTERS,
    OF_USERS,
    ORDERS,
    WINDOWS_AGREE,
    Check,
)
from exchange_platform.operations.acknowledging import acknowledge
from exchange_platform.operations.checks import AT_A_GLANCE, CheckOutcome, CheckScope, Rounds
from exchange_platform.process.clock import SYSTEM_CLOCK, elapsed_s
from exchange_platform.process.decoders import json_decoder
from exchange_platform.stores.checkpoints import StoreDamaged, StoreUnavailable
from exchange_platform.submission.exchange_asking import ExchangeUnavailable
from resources.platform import PlatformResource
from resources.run_sizes import SENSOR_LAKE_MB
from sensors.evaluations import materialised_by, report

ROUND_S = 60.0
EVALUATED_WITHIN_S = 300.0
"""A verdict that is older does not count: the check is reported as failed until it can be evaluated again."""
_EVERY_TICK = (
    *CONSUMERS_ALIVE,
    *LOST_SPANS,
    NO_FAILED_RUNS,
    NO_NEW_DEAD_LETTERS,
    MACHINE_WELL,
    LAKE_FILES_WHOLE,
    DATABASES_WHOLE,
    *ORDERS,
)


class _Memory(msgspec.Struct):
    """What is kept between ticks."""

    rounds: Rounds = Rounds()
    round_at_us: int = 0
    runs: dict[str, str] = {}
    failed: dict[str, str] = {}
    """Check -> why it failed when it was last evaluated."""
    evaluated_at_us: dict[str, int] = {}
    """Check -> when it was last evaluated; before it ever was, when the sensor began to look."""
    unevaluated: dict[str, str] = {}
    """Check -> why it could not be evaluated when that was last tried."""
    without: dict[str, str] = {}
    """Check -> why there is nothing to compare with, so that it has no verdict."""
    suspected: list[str] = []
    """The checks of consumers that the last tick saw fail: a hand-over after a kill takes less than two
    ticks.
    """

    @classmethod
    def from_text(cls, text: str | None) -> "_Memory":
        try:
            return _memory.decode(text or "{}")
        except msgspec.MsgspecError:
            return cls()


_memory = json_decoder(_Memory)


@dg.sensor(
    minimum_interval_seconds=15,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Do the stores agree? Evaluates every asset check each minute, without a run, on a share of what is stored.",
)
def reconciliation_sensor(context: dg.SensorEvaluationContext, platform: PlatformResource) -> dg.SkipReason:
    """Evaluate what is due and report it on its assets."""
    memory = _Memory.from_text(context.cursor)
    now_us = SYSTEM_CLOCK.now_us()
    runs = materialised_by(context.instance, {check.asset for check in ALL})
    whole_round = runs != memory.runs or elapsed_s(memory.round_at_us, now_us) >= ROUND_S
    try:
        scope = _scope(context, platform, memory.rounds) if whole_round else AT_A_GLANCE
    except StoreUnavailable as error:
        context.log.warning(f"only the cheap checks are evaluated: {error}")
        whole_round, scope = False, AT_A_GLANCE
        memory.unevaluated |= {check.key: str(error) for check in ALL if check not in _EVERY_TICK}
    asked = ALL if whole_round else _EVERY_TICK
    outcomes = _outcomes(context, platform, asked, scope, memory, now_us)
    silent = [check for check in CONSUMERS_ALIVE if check in outcomes and not outcomes[check].passed]
    for check in silent:
        if check.key not in memory.suspected:
            del outcomes[check]
    memory.suspected = [check.key for check in silent]
    evaluated, outcomes = outcomes, outcomes | _stale(memory, now_us)
    news = {
        check: outcome
        for check, outcome in outcomes.items()
        if whole_round or outcome.passed == (check.key in memory.failed)
    }
    report(context.instance, [check.evaluation(outcome) for check, outcome in news.items()], runs)
    for check, outcome in outcomes.items():
        memory.failed.pop(check.key, None)
        if not outcome.passed:
            memory.failed[check.key] = outcome.description
            context.log.error(f"{check.key} FAILED: {outcome.description}")
    if whole_round:
        memory.round_at_us, memory.runs = now_us, runs
        looked = {check: outcome for check, outcome in evaluated.items() if outcome.looked}
        memory.rounds = memory.rounds.after(
            scope,
            [looked[check] for check in OF_USERS] if looked.keys() >= set(OF_USERS) else None,
            looked.get(LAKE_AGREES),
            looked.get(WINDOWS_AGREE),
            looked.get(INDEX_AGREES),
            {check.name: looked[check] for check in BY_THEMSELVES if check in looked},
        )
    context.update_cursor(msgspec.json.encode(memory).decode())
    return dg.SkipReason(_summary(outcomes, memory, len(asked)))


def _scope(context: dg.SensorEvaluationContext, platform: PlatformResource, rounds: Rounds) -> CheckScope:
    with platform.lake(memory_mb=SENSOR_LAKE_MB) as lake:
        try:
            acknowledge(platform.settings, platform.database, lake)
        except (ExchangeUnavailable, StoreDamaged) as error:  # it forgets nothing meanwhile
            context.log.warning(f"what is committed could not be reported to the exchange: {error}")
        return rounds.scope(platform.database, lake)


def _outcomes(
    context: dg.SensorEvaluationContext,
    platform: PlatformResource,
    asked: Iterable[Check],
    scope: CheckScope,
    memory: _Memory,
    now_us: int,
) -> dict[Check, CheckOutcome]:
    """The checks' outcomes, those left out that could not be made now: the consumer's own check reports a
    store that is away.
    """
    outcomes: dict[Check, CheckOutcome] = {}
    for check in asked:
        try:
            outcome = check.outcome(platform, scope, context.instance)
        except StoreUnavailable as error:
            context.log.warning(f"{check.key} not evaluated: {error}")
            memory.unevaluated[check.key] = str(error)
            continue
        except Exception as error:  # one check that breaks must not silence the others, nor pass
            context.log.exception(f"{check.key} could not be evaluated")
            outcome = CheckOutcome(
                False, f"it could not be evaluated: {type(error).__name__}: {error}", looked=False
            )
        memory.without.pop(check.key, None)
        if not outcome.applies:
            memory.without[check.key] = outcome.description
            memory.evaluated_at_us[check.key] = now_us
            memory.unevaluated.pop(check.key, None)
            continue
        if not outcome.compared:
            context.log.warning(f"{check.key} {outcome.description}")
            memory.unevaluated[check.key] = outcome.description
            continue
        outcomes[check] = outcome
        memory.evaluated_at_us[check.key] = now_us
        memory.unevaluated.pop(check.key, None)
    return outcomes


def _stale(memory: _Memory, now_us: int) -> dict[Check, CheckOutcome]:
    """The checks whose last verdict is too old to count: they are not known to pass."""
    stale: dict[Check, CheckOutcome] = {}
    for check in ALL:
        age_s = elapsed_s(memory.evaluated_at_us.setdefault(check.key, now_us), now_us)
        if age_s > EVALUATED_WITHIN_S:
            why = memory.unevaluated.get(check.key, "nobody asked")
            stale[check] = CheckOutcome(False, f"not evaluated for {age_s / 60:.0f} minutes: {why}")
    return stale


def _summary(outcomes: dict[Check, CheckOutcome], memory: _Memory, asked: int) -> str:
    said = "".join(f"; {name} {reason}" for name, reason in memory.without.items())
    return f"{_verdict(outcomes, memory, asked)}{said}"


def _verdict(outcomes: dict[Check, CheckOutcome], memory: _Memory, asked: int) -> str:
    if memory.failed:
        return "FAILED " + "; ".join(f"{name}: {reason}" for name, reason in memory.failed.items())
    said = "; ".join(outcome.description for outcome in outcomes.values())
    if asked == len(ALL):
        return f"{len(outcomes)} of {asked} checks passed: {said}"
    if memory.unevaluated:
        why = "; ".join(f"{name}: {reason}" for name, reason in memory.unevaluated.items())
        return f"NOT EVALUATED {why}; {said}"
    ago_s = elapsed_s(memory.round_at_us, SYSTEM_CLOCK.now_us())
    return f"all well {ago_s:.0f} s ago; {said}"
