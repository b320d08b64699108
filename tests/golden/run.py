"""`./dev conformance --golden`: plays the scripts on Kubernetes itself, says where it answers differently, or records.

Scripts that leave the nodes alone share a control plane; the others have one to themselves, one after the other.
"""

from __future__ import annotations

import argparse
import queue
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.conformance.nodes import RemoteNodes
from tests.conformance.upstream import CONTROL_PLANE, Upstream
from tests.golden.script import Script, difference, scripts
from tests.golden.stages import NODES, Real, play

AT_ONCE: Final = 12
LANES: Final = 3
"""Control planes for scripts that play alone."""


@contextmanager
def kubernetes() -> Iterator[tuple[RemoteNodes, Path]]:
    with Upstream.start(components=(*CONTROL_PLANE, "kube-scheduler")) as upstream:
        nodes = RemoteNodes(upstream.kubeconfig, NODES)
        try:
            yield nodes, upstream.kubeconfig
        finally:
            nodes.close()


def play_together(chosen: Sequence[Script], tell: Callable[[Script], None]) -> None:
    if not chosen:
        return
    with kubernetes() as (nodes, kubeconfig), ThreadPoolExecutor(AT_ONCE) as pool:
        Real(nodes, kubeconfig, "").begin_anew()
        list(pool.map(lambda each: tell(play(each, Real(nodes, kubeconfig, f"golden-{each.name}"))), chosen))


def play_alone(waiting: queue.SimpleQueue[Script], tell: Callable[[Script], None]) -> None:
    """Those that nobody else has taken yet."""
    if waiting.empty():
        return
    with kubernetes() as (nodes, kubeconfig):
        while True:
            try:
                script = waiting.get_nowait()
            except queue.Empty:
                return
            stage = Real(nodes, kubeconfig, f"golden-{script.name}")
            stage.begin_anew()
            tell(play(script, stage))


def play_all(chosen: Sequence[Script], tell: Callable[[Script], None]) -> None:
    """`tell` hears of each script when it has been played, from several threads."""
    waiting: queue.SimpleQueue[Script] = queue.SimpleQueue()
    for script in chosen:
        if script.plays_alone:
            waiting.put(script)
    with ThreadPoolExecutor(1 + LANES) as pool:
        together = pool.submit(play_together, [each for each in chosen if not each.plays_alone], tell)
        lanes = [pool.submit(play_alone, waiting, tell) for _ in range(LANES)]
        for each in (together, *lanes):
            each.result()


def main(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="./dev conformance --golden", description=__doc__)
    parser.add_argument("names", nargs="*", help="scripts to play; all if none is named")
    parser.add_argument("--record", action="store_true", help="write what Kubernetes answers into the scripts")
    asked = parser.parse_args(words)
    there = {script.name: script for script in scripts() if not script.is_ours_only}
    if unknown := sorted(set(asked.names) - there.keys()):
        parser.error(f"no such script: {', '.join(unknown)}; there are {', '.join(there)}")
    chosen = [script for script in there.values() if not asked.names or script.name in asked.names]
    differences: list[str] = []

    def tell(played: Script) -> None:
        said = difference(there[played.name], played)
        if asked.record:
            played.path.write_text(played.text())
        elif said:
            differences.append(said)
        print(f"{'differs' if said else 'same   '} {played.name}", file=sys.stderr, flush=True)

    play_all(chosen, tell)
    if asked.record:
        return 0
    print("\n".join([*differences, f"{len(chosen)} played, {len(differences)} differ"]))
    return bool(differences)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
