"""Records or compares; see the package."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.conformance.addons.recording import ONCE_DIFFERENT, RECORDING, invent
from tests.conformance.addons.vertical import Json, judge, settled
from tests.conformance.upstream import build


def ask_upstream(seeds: list[int]) -> dict[int, Json]:
    asked = "".join(json.dumps(invent(seed)) + "\n" for seed in seeds)
    done = subprocess.run([build("addons")], input=asked, capture_output=True, text=True, check=True)
    return {seed: settled(json.loads(line)) for seed, line in zip(seeds, done.stdout.splitlines(), strict=True)}


def main(verb: str, count: int, seed: int) -> int:
    seeds = [seed * 1_000_000 + number for number in range(count)]
    if verb == "record":
        seeds += ONCE_DIFFERENT
    answers = ask_upstream(seeds)
    wrong = [each for each, answer in answers.items() if settled(judge(invent(each))) != answer]
    for each in wrong[:20]:
        print(f"case {each} differs")
    containers = sum(len(answer["recommendation"]) for answer in answers.values())
    updated = sum(len(answer["order"]) for answer in answers.values())
    print(f"{len(seeds)} cases, {containers} containers recommended, {updated} pods updated; {len(wrong)} cases differ")
    if verb == "record":
        RECORDING.save(answers)
    return 1 if wrong else 0


def replay() -> int:
    wrong = [seed for seed, invented, answer in RECORDING.load() if settled(judge(invented)) != answer]
    print(f"{len(wrong)} recorded cases differ: {wrong[:20]}")
    return 1 if wrong else 0


if __name__ == "__main__":
    if sys.argv[1:] == ["replay"]:
        sys.exit(replay())
    if len(sys.argv) < 3 or sys.argv[1] not in ("record", "compare"):
        raise SystemExit("usage: python -m tests.conformance.addons replay | record COUNT [SEED] | compare ...")
    sys.exit(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 1))
