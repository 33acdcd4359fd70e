"""Who is told what happens, and what is asked to train a model again, as frozen types."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class ReceiverKind(enum.StrEnum):
    """What a receiver understands."""

    SLACK = "slack"
    PAGERDUTY = "pagerduty"
    WEBHOOK = "webhook"


class Topic(enum.StrEnum):
    """What a receiver may want to be told of."""

    TRIP = "trip"
    REARM = "rearm"
    HALT = "halt"
    STAGE = "stage"
    DRILL = "drill"
    APPROVAL = "approval"
    DRIFT = "drift"


class TrainerKind(enum.StrEnum):
    """Whose API starts a training."""

    AIRFLOW = "airflow"
    GITHUB = "github"
    WEBHOOK = "webhook"


class Cause(enum.StrEnum):
    """Why a model should be trained again."""

    DRIFT = "drift"
    ACCURACY = "accuracy"


PAGERDUTY = "https://events.pagerduty.com/v2/enqueue"
GITHUB = "https://api.github.com"


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a message goes. A URL that is a secret stands in the environment, never here.

    Attributes:
        url: http or https; None: it is in the variable `url_env`.
        allow_private: loopback and private addresses may be connected to.
    """

    url: str | None = None
    url_env: str | None = None
    allow_private: bool = False


@dataclass(frozen=True, slots=True)
class Receiver:
    """One receiver of notifications.

    Attributes:
        secret_env: the variable with the key that webhooks are signed with, or PagerDuty's routing key.
        on: what it is told of.
        endpoints: of which endpoints; empty: of all.
    """

    name: str
    kind: ReceiverKind
    destination: Destination
    secret_env: str | None = None
    on: frozenset[Topic] = frozenset()
    endpoints: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Retraining:
    """What is asked to train an endpoint's model again.

    Attributes:
        on: why it is asked.
        most: how often it is asked in `period` (seconds) for the same version and cause.
        token_env: the variable with the API's token; with `user`, Airflow's password.
        secret_env: the variable with the key that a webhook is signed with.
        dag, user: Airflow's.
        repository, workflow, ref, event: GitHub's; with `workflow` that one is dispatched at `ref`, without
            it the repository gets `event`.
    """

    kind: TrainerKind
    destination: Destination
    on: frozenset[Cause] = frozenset(Cause)
    most: int = 1
    period: float = 86_400.0
    token_env: str | None = None
    secret_env: str | None = None
    dag: str | None = None
    user: str | None = None
    repository: str | None = None
    workflow: str | None = None
    ref: str = "main"
    event: str = "pointsman-retrain"
