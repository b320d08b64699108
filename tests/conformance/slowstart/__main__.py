"""Records or compares; see the package."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.conformance.slowstart.cases import RECORDING, Json, invent, play

MODULE = Path(__file__).parents[1] / "upstream"


def ask_upstream(cases: list[Json]) -> list[list[Json]]:
    with tempfile.TemporaryDirectory() as directory:
        asked, answered = Path(directory, "cases"), Path(directory, "answers")
        asked.write_text("".join(json.dumps(each) + "\n" for each in cases))
        environment = {**os.environ, "CASES": str(asked), "ANSWERS": str(answered)}
        command = ["go", "test", "-count=1", "-timeout=30m", "./slowstart"]
        done = subprocess.run(command, cwd=MODULE, env=environment, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)} in {MODULE} failed:\n{done.stdout[-5000:]}{done.stderr[-5000:]}")
        return [json.loads(line) for line in answered.read_text().splitlines()]


def compare(cases: dict[int, tuple[Json, list[Json]]]) -> int:
    wrong = 0
    for seed, (case, upstream) in cases.items():
        ours = play(case)
        if ours != upstream:
            wrong += 1
            print(f"case {seed} {case}: upstream {upstream}, here {ours}")
    print(f"{len(cases)} cases, {wrong} differ")
    return 1 if wrong else 0


def main(verb: str, count: int, seed: int) -> int:
    seeds = [seed * 1_000_000 + number for number in range(count)]
    cases = [invent(each) for each in seeds]
    answers = ask_upstream(cases)
    if verb == "record":
        RECORDING.save(dict(zip(seeds, answers, strict=True)))
    return compare(dict(zip(seeds, zip(cases, answers, strict=True), strict=True)))


if __name__ == "__main__":
    if sys.argv[1:] == ["replay"]:
        sys.exit(compare({seed: (case, answer) for seed, case, answer in RECORDING.load()}))
    if len(sys.argv) < 3 or sys.argv[1] not in ("record", "compare"):
        raise SystemExit(
            "usage: python -m tests.conformance.slowstart replay | record COUNT [SEED] | compare COUNT [SEED]"
        )
    sys.exit(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 1))
