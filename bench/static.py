"""How long checks of files take: references, schemas, network and configuration, of one file and of 1,000 objects.

Bars: 1,000 objects in 1.5 s and 120 MiB, one file in 0.3 s, interpreter and imports included. Beside it stands
kubernetes-validate, which looks at schemas only. CPU time of the best of several processes: others use the machine.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

SHOP = Path(__file__).parents[1] / "examples/shop/deploy"
PROPERTIES = "references/*,schema/*,network/*,config/*"
OTHER = """\
import sys, pathlib, yaml, kubernetes_validate
for path in sorted(pathlib.Path(sys.argv[1]).glob("*.yaml")):
    for document in yaml.load_all(path.read_text(), yaml.CSafeLoader):
        try:
            kubernetes_validate.validate(document, "1.36", strict=True)
        except kubernetes_validate.SchemaNotFoundError:
            pass
"""


def systems(directory: Path, count: int) -> int:
    """Copies of the shop, each in a namespace of its own; how many objects there are."""
    objects = 0
    texts = [file.read_text() for file in sorted(SHOP.glob("*.yaml"))]
    for number in range(count):
        text = "\n---\n".join(texts).replace("metadata:\n  name:", f"metadata:\n  namespace: team-{number}\n  name:")
        objects += text.count("\nkind: ")
        (directory / f"{number:03}.yaml").write_text(text)
    return objects


def cost(command: list[str], runs: int = 3) -> tuple[float, float]:
    """Seconds of CPU and MiB of the cheapest of several runs."""
    best = (float("inf"), float("inf"))
    for _ in range(runs):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            sys.exit(f"{' '.join(command)}: exit code {process.returncode}")
        best = min(best, (usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024))
    return best


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        many, one = Path(name, "many"), Path(name, "one")
        many.mkdir()
        one.mkdir()
        objects = systems(many, 100)
        systems(one, 1)
        check = [sys.executable, "-m", "seatrial", "check", "--only", PROPERTIES]
        for title, command in (
            ("one file of 10 objects, seatrial check", [*check, str(one)]),
            (f"{objects} objects, seatrial check", [*check, str(many)]),
            (f"{objects} objects, kubernetes-validate", [sys.executable, "-c", OTHER, str(many)]),
        ):
            seconds, memory = cost(command)
            print(f"{title:<44} {seconds:6.2f} s CPU {memory:6.0f} MiB")


if __name__ == "__main__":
    main()
