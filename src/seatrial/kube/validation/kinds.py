"""What the rules of a kind consist of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from seatrial.kube.objects import JsonObject
from seatrial.kube.validation.fields import Faults, Rule, subdomain


def _nothing(raw: JsonObject, minor: int) -> Faults:
    return iter(())


def _free(raw: JsonObject, before: JsonObject, minor: int) -> Faults:
    return iter(())


@dataclass(frozen=True, slots=True)
class Rules:
    """`valid` for every object of the kind, `new` only for a created one, `fixed` for one that replaces another."""

    valid: Callable[[JsonObject, int], Faults] = _nothing
    new: Callable[[JsonObject, int], Faults] = _nothing
    fixed: Callable[[JsonObject, JsonObject, int], Faults] = _free
    named: Rule = subdomain
    """The rule for its name."""
    named_before: Mapping[int, Rule] = field(default_factory=dict)
    """The rule for its name in versions before 1.N."""
    core: bool = True
    """Its finalizers are looked at once more: the kinds whose metadata `core/validation` looks at."""
    remeta: bool = False
    """One that replaces another is looked at as if it were new: its name, once more its finalizers."""
    checks_prefix: bool = True
    """Whether `generateName` has to be the beginning of a name."""
    has_metadata_rules: bool = True
    """Upstream forgot those of a PodDisruptionBudget."""

    def name_rule(self, minor: int) -> Rule:
        return next((rule for until, rule in self.named_before.items() if minor < until), self.named)
