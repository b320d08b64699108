"""Records or compares; see the package."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from itertools import islice
from pathlib import Path

from tests.conformance.clocked.histories import RECORDING, Json, invent
from tests.conformance.clocked.replay import differences

MODULE = Path(__file__).parents[1] / "upstream"


def ask_upstream(histories: list[Json]) -> list[list[Json]]:
    with tempfile.TemporaryDirectory() as directory:
        asked, answered = Path(directory, "histories"), Path(directory, "answers")
        asked.write_text("".join(json.dumps(each) + "\n" for each in histories))
        environment = {**os.environ, "HISTORIES": str(asked), "ANSWERS": str(answered)}
        command = ["go", "test", "-count=1", "-timeout=30m", "./clocked"]
        done = subprocess.run(command, cwd=MODULE, env=environment, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)} in {MODULE} failed:\n{done.stdout[-5000:]}{done.stderr[-5000:]}")
        return [json.loads(line) for line in answered.read_text().splitlines()]


def compare(cases: dict[int, tuple[Json, list[Json]]]) -> int:
    wrong: dict[str, int] = {}
    kinds = {"+".join(history["run"]): 0 for history, _ in cases.values()}
    for seed, (history, lines) in cases.items():
        kinds["+".join(history["run"])] += 1
        for each in islice(differences(history, lines), 1):
            wrong[history["run"][0]] = wrong.get(history["run"][0], 0) + 1
            print(f"history {seed} ({history['run']}): {each}")
    print(f"{len(cases)} histories {kinds}, {sum(wrong.values())} differ {wrong or ''}")
    return 1 if wrong else 0


def main(verb: str, count: int, seed: int) -> int:
    seeds = [seed * 1_000_000 + number for number in range(count)]
    histories = [invent(each) for each in seeds]
    answers = ask_upstream(histories)
    if verb == "record":
        RECORDING.save(dict(zip(seeds, answers, strict=True)))
    return compare(dict(zip(seeds, zip(histories, answers, strict=True), strict=True)))


if __name__ == "__main__":
    if sys.argv[1:] == ["replay"]:
        sys.exit(compare({seed: (history, lines) for seed, history, lines in RECORDING.load()}))
    if len(sys.argv) < 3 or sys.argv[1] not in ("record", "compare"):
        raise SystemExit(
            "usage: python -m tests.conformance.clocked replay | record COUNT [SEED] | compare COUNT [SEED]"
        )
    sys.exit(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 1))
