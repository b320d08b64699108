"""Asking every property about a system and gathering the report."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from seatrial.check import machines
from seatrial.check.properties import Question, references, rollout, schedule, schema
from seatrial.check.system import System
from seatrial.check.verdicts import Assumption, Report, Verdict

NAMES = (references.NAME, schema.NAME, schedule.NAME, *rollout.NAMES)
TEXTS = {
    "nodes/fail=0": "no node fails",
    "containers/healthy": "containers of the files' templates start, pass their probes, stay up",
    "controllers/prompt": "ReplicaSets report before the next container moves",
    "others/steady": "other workloads are installed and do not roll out",
    "controllers/fresh": "controllers see the current state, no lagging cache",
    "rollout/template-change": "one rollout follows, to a template of the same needs",
    "rollout/broken-template": "containers of the changed template crash before they are ready, every time",
    "storage/binds": "claims are bound and volumes attach wherever their pods go",
    "ties/sampled": "ties of over four different pods: 24 orders tried",
    "order/as-written": "the pods are scheduled in the order of the files",
}


def matching(pattern: str) -> tuple[str, ...]:
    """The properties that a shell pattern names."""
    return tuple(name for name in NAMES if fnmatchcase(name, pattern))


def judge(system: System, only: Sequence[str] = ("*",), *, max_states: int = 60_000) -> Report:
    """The report on all properties whose name matches one of `only` (shell patterns)."""
    wanted = frozenset(name for pattern in only for name in matching(pattern))
    verdicts: list[Verdict] = []
    nodes, where = machines.inventory(system)
    question = Question(system, nodes, where, max_states)
    for name, check in (
        (references.NAME, references.check),
        (schema.NAME, schema.check),
        (schedule.NAME, schedule.check),
    ):
        if name in wanted:
            verdicts += check(question)
    if wanted & set(rollout.NAMES):
        verdicts += rollout.check(question, wanted)
    used = dict.fromkeys(name for verdict in verdicts for name in verdict.assumptions)
    assumptions = tuple(where if name == where.name else Assumption(name, "default", TEXTS[name]) for name in used)
    return Report(kubernetes=system.version, verdicts=tuple(verdicts), assumptions=assumptions)
