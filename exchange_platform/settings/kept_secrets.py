"""Settings that are kept in AWS Secrets Manager, read where a process is given only where they lie. Not here:
which settings there are.

ECS puts a secret's value into the task's environment by itself; Lambda does not, and is given `<NAME>_SECRET`
instead: the secret's ARN or name, and behind it, as ECS writes it, a key of its JSON, a stage and a version:
`arn:aws:secretsmanager:...:secret:name:password::`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from exchange_platform.process.aws_clients import new_client

_ARN_PARTS = 7


class SecretUnreadable(Exception):
    """A secret is not there, may not be read, or does not hold what it should. The message never holds a
    value.
    """


@dataclass(frozen=True, slots=True)
class Place:
    """Where a secret lies: its id, a key of its JSON (none: all of it), a stage or version (none: the current
    one).
    """

    secret: str
    key: str | None = None
    stage: str | None = None
    version: str | None = None

    @classmethod
    def from_text(cls, text: str) -> Place:
        """Read `<ARN or name>[:key[:stage[:version]]]`. Raises `SecretUnreadable`."""
        parts = text.split(":")
        length = _ARN_PARTS if text.startswith("arn:") else 1
        secret, rest = ":".join(parts[:length]), parts[length:]
        if len(parts) < length or not secret or len(rest) > 3:
            raise SecretUnreadable(
                f"{text!r} is no secret: an ARN or a name, and behind it, if need be, :key:stage:version"
            )
        key, stage, version = [part or None for part in (*rest, "", "", "")][:3]
        return cls(secret, key, stage, version)


def read_secrets(
    places: Mapping[str, str],
    *,
    region: str,
    endpoint_url: str | None = None,
    emulator_key: str | None = None,
) -> dict[str, str]:
    """The value of each place, by the same names; a secret that several lie in is asked for once. Raises
    `SecretUnreadable`.
    """
    wanted = {name: _place(name, text) for name, text in places.items()}
    client = new_client("secretsmanager", region=region, endpoint_url=endpoint_url, emulator_key=emulator_key)
    try:
        held = dict(_asked(client, wanted))
    finally:
        client.close()
    return {name: _picked(name, place, held[_source(place)]) for name, place in wanted.items()}


def _asked(client: Any, wanted: Mapping[str, Place]) -> Iterator[tuple[tuple[str, ...], str]]:
    once: dict[tuple[str, ...], tuple[str, Place]] = {}
    for name, place in wanted.items():
        once.setdefault(_source(place), (name, place))
    for source, (name, place) in once.items():
        which = {"VersionStage": place.stage, "VersionId": place.version}
        try:
            answer = client.get_secret_value(
                SecretId=place.secret, **{key: value for key, value in which.items() if value}
            )
        except (ClientError, BotoCoreError) as error:
            code = error.response["Error"]["Code"] if isinstance(error, ClientError) else str(error)
            raise SecretUnreadable(f"{name}: secret {place.secret} can't be read: {code}") from None
        if "SecretString" not in answer:
            raise SecretUnreadable(f"{name}: secret {place.secret} holds bytes; text is needed")
        yield source, str(answer["SecretString"])


def _picked(name: str, place: Place, text: str) -> str:
    if place.key is None:
        return text
    try:
        content = json.loads(text)
    except ValueError:
        content = None
    if not isinstance(content, dict) or not isinstance(content.get(place.key), str | int):
        raise SecretUnreadable(f"{name}: secret {place.secret} is no JSON with the key {place.key!r}")
    return str(content[place.key])


def _place(name: str, text: str) -> Place:
    try:
        return Place.from_text(text)
    except SecretUnreadable as error:
        raise SecretUnreadable(f"{name}: {error}") from None


def _source(place: Place) -> tuple[str, ...]:
    return place.secret, place.stage or "", place.version or ""
