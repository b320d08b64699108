"""See the package."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

from seatrial.deploy.client import Client
from tests.conformance.upstream import Upstream
from tests.conformance.validation import cases
from tests.conformance.validation.judging import Answer, Ours, Score, Theirs
from tests.conformance.validation.recording import FIRST, FLAGS, NUMBER, RECORDING


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.conformance.validation")
    parser.add_argument("what", choices=("live", "record", "replay"))
    parser.add_argument("--cases", type=int, default=NUMBER)
    parser.add_argument("--seed", type=int, default=FIRST)
    parser.add_argument("--step", type=int, default=1, help="of the recording every how manyth case")
    parser.add_argument("--kubeconfig", type=Path, help="of a kube-apiserver that runs, with the flags of the recorder")
    parser.add_argument("--show", type=int, default=20, help="how many differences")
    asked = parser.parse_args()
    score, ours = Score(), Ours()
    if asked.what == "replay":
        for seed, case, said in RECORDING.load(step=asked.step):
            score.add(seed, case, said, ours.ask(case))
    else:
        answers = _ask(asked.seed, asked.cases, asked.kubeconfig)
        if asked.what == "record":
            RECORDING.save(answers)
        for seed, said in answers.items():
            case = cases.invent(seed)
            score.add(seed, case, said, ours.ask(case))
    _show(score, asked.show)
    print(score)
    return not score.is_good()


def _ask(first: int, number: int, kubeconfig: Path | None) -> dict[int, Answer]:
    if kubeconfig is None:
        with Upstream.start(components=("etcd", "kube-apiserver"), flags={"kube-apiserver": FLAGS}) as upstream:
            return _ask(first, number, upstream.kubeconfig)
    theirs = Theirs(Client(kubeconfig))
    return {seed: theirs.ask(cases.invent(seed)) for seed in range(first, first + number)}


def _show(score: Score, most: int) -> None:
    kinds = Counter(cases.good()[case["object"]][1]["kind"] for _, case, _, _ in score.differing)
    print("differences by kind:", dict(kinds.most_common()))
    for seed, case, upstream, said in score.differing[:most]:
        raw = cases.good()[case["object"]][1]
        print(f"{seed} {raw['kind']} {'update' if case['update'] else 'create'}")
        print(f"    upstream {upstream}\n    ours     {said}")


if __name__ == "__main__":
    sys.exit(main())
