"""Whether the API works, for load balancers and `up`. Not here: the platform's status (status.py)."""

from __future__ import annotations

import sqlalchemy as sa
from fastapi import APIRouter
from pydantic import BaseModel

from exchange_platform.api.http.bulkheads import Work, pooled
from exchange_platform.api.http.problems import Problem, problems
from exchange_platform.api.services import AppState

router = APIRouter(tags=["health"], route_class=pooled(Work.HEALTH))


class HealthAnswer(BaseModel):
    """The API and its database answer."""

    healthy: bool = True


@router.get("/health", responses=problems(429, 503))
def health(services: AppState) -> HealthAnswer:
    """Say that the API and its database answer; 503 while the database is away, or a store refuses the
    password of this process.
    """
    if services.refused:
        raise Problem(
            503,
            "credentials_refused",
            "a store refuses the user name or password of this process; one that is restarted reads them again",
        )
    with services.health_database.read() as connection:
        connection.execute(sa.select(1))
    return HealthAnswer()
