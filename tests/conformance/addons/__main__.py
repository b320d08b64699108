"""Records or compares; see the package."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.conformance.addons import descheduling, vertical
from tests.conformance.addons.recording import DESCHEDULER, DESCHEDULER_ONCE, VERTICAL, VERTICAL_ONCE
from tests.conformance.recording import Recording
from tests.conformance.upstream import build

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Subject:
    """`read` makes what is recorded of upstream's answer to a case; `agrees` compares with it; `count` tells of it."""

    program: str
    recording: Recording
    read: Callable[[Json, Json], Any]
    agrees: Callable[[Json, Any], bool]
    count: Callable[[list[Any]], str]
    more: tuple[int, ...] = ()


def _recommended(answers: list[Any]) -> str:
    containers, updated = (sum(len(answer[part]) for answer in answers) for part in ("recommendation", "order"))
    return f"{containers} containers recommended, {updated} pods updated"


def _evicted(answers: list[Any]) -> str:
    some, by_chance = (sum(answer != [[]] for answer in answers), sum(len(answer) > 1 for answer in answers))
    return f"{some} with evictions, {by_chance} by chance"


SUBJECTS = {
    "vertical": Subject(
        "addons",
        VERTICAL,
        lambda _, answer: vertical.settled(answer),
        lambda asked, answer: vertical.settled(vertical.judge(asked)) == answer,
        _recommended,
        VERTICAL_ONCE,
    ),
    "descheduler": Subject(
        "descheduler",
        DESCHEDULER,
        descheduling.outcomes,
        lambda asked, answer: descheduling.judge(asked) in answer,
        _evicted,
        DESCHEDULER_ONCE,
    ),
}


def ask_upstream(subject: Subject, seeds: list[int], **otherwise: Any) -> dict[int, Any]:
    cases = [{**subject.recording.invent(seed), **otherwise} for seed in seeds]
    asked = "".join(json.dumps(case) + "\n" for case in cases)
    done = subprocess.run([build(subject.program)], input=asked, capture_output=True, text=True, check=True)
    answers = map(json.loads, done.stdout.splitlines())
    return {seed: subject.read(case, answer) for seed, case, answer in zip(seeds, cases, answers, strict=True)}


def differing(subject: Subject, answers: Mapping[int, Any]) -> list[int]:
    return [each for each, answer in answers.items() if not subject.agrees(subject.recording.invent(each), answer)]


def main(subject: Subject, verb: str, count: int, seed: int) -> int:
    seeds = [seed * 1_000_000 + number for number in range(count)]
    if verb == "record":
        seeds += subject.more
    answers = ask_upstream(subject, seeds)
    wrong = differing(subject, answers)
    if wrong and subject is SUBJECTS["descheduler"]:  # what chance decides may be what upstream does seldom
        answers |= ask_upstream(subject, wrong, Runs=2000)
        wrong = differing(subject, answers)
    for each in wrong[:20]:
        print(f"case {each} differs")
    print(f"{len(seeds)} cases, {subject.count(list(answers.values()))}; {len(wrong)} cases differ")
    if verb == "record":
        subject.recording.save(answers)
    return 1 if wrong else 0


def replay(subject: Subject) -> int:
    wrong = [seed for seed, invented, answer in subject.recording.load() if not subject.agrees(invented, answer)]
    print(f"{len(wrong)} recorded cases differ: {wrong[:20]}")
    return 1 if wrong else 0


if __name__ == "__main__":
    name, verb, *numbers = [*sys.argv[1:], "", ""][: max(2, len(sys.argv) - 1)]
    if name in SUBJECTS and verb == "replay":
        sys.exit(replay(SUBJECTS[name]))
    if name not in SUBJECTS or verb not in ("record", "compare") or not numbers:
        raise SystemExit(
            "usage: python -m tests.conformance.addons vertical|descheduler replay | record COUNT [SEED] | compare ..."
        )
    sys.exit(main(SUBJECTS[name], verb, int(numbers[0]), int(numbers[1]) if len(numbers) > 1 else 1))
