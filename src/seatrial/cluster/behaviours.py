"""Which containers behave how: rules by pod selector, the first that meets a container counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from seatrial.cluster.metrics import Load, Usage, running_since
from seatrial.cluster.simulated import Behaves, Behaviour, usual
from seatrial.kube import selectors
from seatrial.kube.objects import Container, Pod


@dataclass(frozen=True, slots=True)
class Rule:
    """`labels` is a selector as kubectl takes it; empty fields mean every pod, namespace or container."""

    behaviour: Behaviour
    labels: str = ""
    namespace: str = ""
    container: str = ""

    def meets(self, pod: Pod, container: Container) -> bool:
        return (
            self.namespace in ("", pod.metadata.namespace)
            and self.container in ("", container.name)
            and selectors.parse(self.labels).matches(pod.metadata.labels)
        )


def by_rules(rules: Sequence[Rule]) -> Behaves:
    """What the rules say, and `usual` for what they leave out; `rules` may change later."""

    def behaves(pod: Pod, container: Container) -> Behaviour:
        rule = next((rule for rule in rules if rule.meets(pod, container)), None)
        return rule.behaviour if rule is not None else usual(pod, container)

    return behaves


def load_of(behaves: Behaves) -> Load:
    """What containers use, as their behaviour says it."""

    def load(pod: Pod, container: Container, at: datetime) -> Usage:
        since = running_since(pod).get(container.name)
        behaviour = behaves(pod, container)
        if since is None or not behaviour.metrics:
            return Usage()
        age_s = (at - since).total_seconds()
        return Usage(behaviour.amount("cpu", age_s) or 0.0, int(behaviour.amount("memory", age_s) or 0))

    return load
