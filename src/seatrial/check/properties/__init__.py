"""The properties: what each asks, and which module answers.

A family is a module here that answers some properties. It offers `PROPERTIES` (a description of each), `ASSUMPTIONS`
(what the names that its verdicts list mean; a `Parameter` is listed with its value, `nodes/fail=1`) and
`check(question, wanted)`, the verdicts on those of its properties that are wanted; the places of a verdict are the
fields in conflict, from which repairs are tried; a family that knows better ones offers `candidates`.
`FAMILIES` names them in the order in which they are asked, so that only what is asked for is imported.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from seatrial.check.budget import ORDINARY, Budget
from seatrial.check.system import System
from seatrial.check.verdicts import Assumption, Verdict
from seatrial.kube.objects import JsonObject, Node

if TYPE_CHECKING:
    from seatrial.check.story import Run

Value = int | float | str | bool


@dataclass(frozen=True, slots=True)
class Parameter:
    """An assumption with a value, which a user may set in `seatrial.toml`; `text` tells it, with `{value}` in it."""

    default: Value
    text: str


@dataclass(frozen=True, slots=True)
class Question:
    """What a property is asked about."""

    system: System
    nodes: tuple[Node, ...]
    machines: Assumption
    budget: Budget = field(default=ORDINARY, compare=False, repr=False)
    given: Mapping[str, Value] = field(default_factory=dict)
    """The assumptions that the user has set, by name."""
    known: dict[Hashable, Any] = field(default_factory=dict, compare=False, repr=False)
    """What families remember, by what it depends on: the search for repairs asks about much the same system again."""
    closed: bool = False
    """Nothing is brought from outside: what is not in the input is missing."""
    context: tuple[JsonObject, ...] = ()
    """Objects that are known to be there besides the input."""
    runs: dict[tuple[str, str], Run] = field(default_factory=dict, compare=False, repr=False)
    """The moves of each counterexample that is a run, by property and subject."""

    @property
    def max_states(self) -> int:
        return self.budget.states

    def assumed(self, name: str, parameter: Parameter) -> Value:
        """The value to go by; a verdict that does lists the assumption as `name=value`."""
        return self.given.get(name, parameter.default)


@dataclass(frozen=True, slots=True)
class Property:
    """What a property says, for people and formally, and when it is asked.

    `sometimes` is its companion: what must have been reached for a proof not to be about nothing.
    """

    name: str
    asks: str
    formally: str
    premise: str
    sometimes: str


class Family(Protocol):
    PROPERTIES: tuple[Property, ...]
    ASSUMPTIONS: Mapping[str, str | Parameter]

    def check(self, question: Question, wanted: frozenset[str]) -> list[Verdict]:
        """The verdicts on the properties whose names are in `wanted`."""


FAMILIES: Final[Mapping[str, tuple[str, ...]]] = {
    "references": ("references/exist",),
    "schema": ("schema/valid",),
    "network": ("network/reaches",),
    "config": ("config/reaches",),
    "schedule": ("schedule/fits",),
    "preemption": ("schedule/preemption-stable",),
    "survival": ("schedule/survives", "schedule/survives-maintenance"),
    "drain": ("drain/completes",),
    "storage": ("storage/attaches",),
    "start": ("start/converges", "start/dependencies"),
    "cascade": ("nodes/cascade",),
    "arithmetic": ("arithmetic/rollout", "arithmetic/autoscaling", "arithmetic/disruption"),
    "probe": ("probe/startup-time", "probe/cascade"),
    "stop": ("stop/graceful",),
    "job": ("job/completes",),
    "admission": ("admission/possible",),
    "quota": ("quota/leaves-room",),
    "rollout": (
        "rollout/converges",
        "rollout/available",
        "rollout/rollback",
        "rollout/keeps-serving",
        "rollout/bounded-surge",
        "rollout/withstands",
        "rollout/spread",
    ),
    "scale": ("scale/stable", "scale/bounded"),
    "evict": ("evict/stable",),
}
STATIC: Final = ("references", "schema", "network", "config")
"""Families that look at the files only: no machine, no order of events."""


def family(name: str) -> Family:
    return cast("Family", import_module(f"{__name__}.{name}"))
