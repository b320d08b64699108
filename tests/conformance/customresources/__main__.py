"""Records or compares; see the package."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.conformance.customresources.cases import Json
from tests.conformance.customresources.judging import judge
from tests.conformance.customresources.recording import RECORDING, invent
from tests.conformance.upstream import build


def ask_upstream(seeds: list[int]) -> dict[int, Json]:
    """Upstream's answers, without those that it does not give twice."""
    asked = "".join(json.dumps(invent(seed)) + "\n" for seed in seeds)
    program = build("customresources")
    runs = [
        [json.loads(line) for line in done.stdout.splitlines()]
        for _ in range(3)
        for done in [subprocess.run([program], input=asked, capture_output=True, text=True, check=True)]
    ]
    answers = zip(seeds, *runs, strict=True)
    return {seed: first for seed, first, *others in answers if all(other == first for other in others)}


def main(verb: str, count: int, seed: int) -> int:
    seeds = [seed * 1_000_000 + number for number in range(count)]
    answers = ask_upstream(seeds)
    wrong = [each for each, answer in answers.items() if judge(invent(each)) != answer]
    for each in wrong[:20]:
        print(f"case {each} differs")
    objects = sum(len(answer["objects"] or ()) for answer in answers.values())
    print(f"{len(answers)} of {count} cases, {objects} objects; {len(wrong)} cases differ")
    if verb == "record":
        RECORDING.save(answers)
    return 1 if wrong else 0


def replay() -> int:
    wrong = [seed for seed, invented, answer in RECORDING.load() if judge(invented) != answer]
    print(f"{len(wrong)} recorded cases differ: {wrong[:20]}")
    return 1 if wrong else 0


if __name__ == "__main__":
    if sys.argv[1:] == ["replay"]:
        sys.exit(replay())
    if len(sys.argv) < 3 or sys.argv[1] not in ("record", "compare"):
        raise SystemExit(
            "usage: python -m tests.conformance.customresources replay | record COUNT [SEED] | compare ..."
        )
    sys.exit(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 1))
