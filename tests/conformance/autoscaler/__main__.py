"""Records or compares; see the package."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from itertools import islice
from pathlib import Path

from tests.conformance.autoscaler.histories import Json, invent
from tests.conformance.autoscaler.recording import RECORDING
from tests.conformance.autoscaler.replay import differences

MODULE = Path(__file__).parents[1] / "upstream"


def ask_upstream(histories: list[Json]) -> list[list[Json]]:
    """One process of upstream's is one version."""
    answers: dict[int, list[Json]] = {}
    for minor in {each["minor"] for each in histories}:
        places = [place for place, each in enumerate(histories) if each["minor"] == minor]
        answers |= zip(places, _ask([histories[place] for place in places]), strict=True)
    return [answers[place] for place in range(len(histories))]


def _ask(histories: list[Json]) -> list[list[Json]]:
    with tempfile.TemporaryDirectory() as directory:
        asked, answered = Path(directory, "histories"), Path(directory, "answers")
        asked.write_text("".join(json.dumps(each) + "\n" for each in histories))
        environment = {**os.environ, "HISTORIES": str(asked), "ANSWERS": str(answered)}
        command = ["go", "test", "-count=1", "-timeout=30m", "./autoscaler"]
        done = subprocess.run(command, cwd=MODULE, env=environment, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)} in {MODULE} failed:\n{done.stdout[-5000:]}{done.stderr[-5000:]}")
        return [json.loads(line) for line in answered.read_text().splitlines()]


def replay() -> int:
    wrong = 0
    for seed, history, decisions in RECORDING.load():
        for each in islice(differences(history, decisions), 1):
            wrong += 1
            print(f"history {seed}: {each}")
    print(f"{wrong} recorded histories differ")
    return 1 if wrong else 0


def main(verb: str, count: int, seed: int) -> int:
    seeds = [seed * 1_000_000 + number for number in range(count)]
    histories = [invent(each) for each in seeds]
    answers = ask_upstream(histories)
    wrong = syncs = 0
    for each, history, decisions in zip(seeds, histories, answers, strict=True):
        syncs += len(decisions)
        found = list(differences(history, decisions))
        if found:
            wrong += 1
            print(f"history {each}: {found[0]}")
    print(f"{count} histories, {syncs} decisions, {wrong} histories differ")
    if verb == "record":
        RECORDING.save(dict(zip(seeds, answers, strict=True)))
    return 1 if wrong else 0


if __name__ == "__main__":
    if sys.argv[1:] == ["replay"]:
        sys.exit(replay())
    if len(sys.argv) < 3 or sys.argv[1] not in ("record", "compare"):
        raise SystemExit(
            "usage: python -m tests.conformance.autoscaler replay | record COUNT [SEED] | compare COUNT [SEED]"
        )
    sys.exit(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 1))
