"""`seatrial graph`: what refers to what and who needs whom, as a list, a picture, or data."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from seatrial.check.reading.graph import Arrow, Graph, Node

SUMMARY = "show what refers to what and who needs whom, with the file and line of each arrow"
EXAMPLES = """\
  seatrial graph .                            as a list in the terminal
  seatrial graph . --output svg > system.svg  as a picture
  seatrial graph . --output dot | dot -Tpdf   for Graphviz
  seatrial graph . --kinds Deployment,Service some kinds only

red: what is missing, and waiting in circles; dashed: what others bring; blue arrows are inferred from commands, probes
and configuration. Exit codes: 0 all arrows lead somewhere, 1 something is missing or waits in a circle, 3 unreadable"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("paths", nargs="+", metavar="PATH", help="a directory, a file, or - for standard input")
    parser.add_argument("--output", choices=("text", "svg", "json", "dot"), default="text", help="the form (text)")
    parser.add_argument("--kinds", metavar="KINDS", help="only objects of these kinds, comma-separated")


def run(args: argparse.Namespace) -> int:
    from seatrial import project
    from seatrial.check.properties import Question
    from seatrial.check.reading import graph
    from seatrial.check.verdicts import Assumption

    system = project.load(args.paths)
    for finding in system.unreadable:
        print(f"seatrial: {finding.place}: {finding.message}", file=sys.stderr)
    if system.unreadable or not system.entries:
        if not system.unreadable:
            print(f"seatrial: no Kubernetes objects in {', '.join(args.paths)}", file=sys.stderr)
        return 3
    built = graph.build(Question(system, (), Assumption("nodes", "default", "")))
    if args.kinds:
        _keep(built, frozenset(part.strip() for part in args.kinds.split(",")))
    print({"text": text, "svg": svg, "json": data, "dot": dot}[args.output](built))
    return 1 if built.cycles or any(arrow.unmet for arrow in built.arrows) else 0


def _keep(built: Graph, kinds: frozenset[str]) -> None:
    built.nodes = {name: node for name, node in built.nodes.items() if name.partition(" ")[0] in kinds}
    built.arrows = [each for each in built.arrows if each.source in built.nodes and each.target in built.nodes]


def text(built: Graph) -> str:
    """Every object with its arrows, each on a line with its evidence."""
    outgoing: dict[str, list[Arrow]] = {}
    for arrow in built.arrows:
        outgoing.setdefault(arrow.source, []).append(arrow)
    lines = []
    for name, arrows in sorted(outgoing.items(), key=lambda item: _order(built.nodes[item[0]])):
        lines.append(name)
        longest = max(len(arrow.label) for arrow in arrows)
        for number, arrow in enumerate(sorted(arrows, key=lambda a: (a.label, a.target))):
            branch = "└" if number == len(arrows) - 1 else "├"
            told = {"missing": "  (missing)", "outside": "  (from outside)", "input": ""}[
                built.nodes[arrow.target].there
            ]
            told += "  (waits in a circle)" if arrow.cycle else ""
            lines.append(f"  {branch}─ {arrow.label:<{longest}} ─▶ {arrow.target}{told}  {_evidence(arrow)}")
    alone = [name for name in built.nodes if name not in outgoing and all(a.target != name for a in built.arrows)]
    if alone:
        lines += ["", "on their own: " + ", ".join(sorted(alone))]
    lines += [f"circle: {' ─▶ '.join(cycle)}" for cycle in built.cycles]
    return "\n".join(lines)


def _order(node: Node) -> tuple[int, str]:
    sorts = ("workload", "network", "config", "storage", "access", "other")
    return sorts.index(node.sort), node.name


def _evidence(arrow: Arrow) -> str:
    more = f" and {len(arrow.evidence) - 1} more" if len(arrow.evidence) > 1 else ""
    words = f" {arrow.words!r}" if arrow.words else ""
    return f"{arrow.evidence[0]}{words}{more}"


def svg(built: Graph) -> str:
    from seatrial.cli import drawing

    touched = {name for arrow in built.arrows for name in (arrow.source, arrow.target)}
    boxes = []
    for node in sorted(built.nodes.values(), key=_order):
        if node.name in touched or node.sort == "workload":
            kind, _, title = node.name.partition(" ")
            hint = f"{node.name}\n{node.place or {'missing': 'missing', 'outside': 'brought from outside'}[node.there]}"
            boxes.append(drawing.Box(node.name, kind, title, f"{node.sort} {node.there}", hint))
    between: dict[tuple[str, str], list[Arrow]] = {}
    for arrow in built.arrows:
        between.setdefault((arrow.source, arrow.target), []).append(arrow)
    lines = [drawing.Line(*ends, *_looks(arrows)) for ends, arrows in between.items()]
    return drawing.svg(boxes, lines, "the dependencies of the system")


def _looks(arrows: Sequence[Arrow]) -> tuple[str, str, str]:
    """Label, classes and evidence of the arrows between two objects, which are drawn as one line."""
    classes = {
        "inferred": any(arrow.words for arrow in arrows),
        "unmet": any(arrow.unmet for arrow in arrows),
        "cycle": any(arrow.cycle for arrow in arrows),
    }
    hint = [
        line for a in arrows for line in (f"{a.source} {a.label} {a.target} {a.words}".rstrip(), *map(str, a.evidence))
    ]
    label = ", ".join(dict.fromkeys(arrow.label for arrow in arrows))
    return label, " ".join(name for name, given in classes.items() if given), "\n".join(hint)


def data(built: Graph) -> str:
    def place(each: Any) -> dict[str, Any]:
        return {"file": each.file, "line": each.line, "column": each.column, "path": each.path}

    nodes = [
        {"name": n.name, "sort": n.sort, "there": n.there, "place": place(n.place) if n.place else None}
        for n in built.nodes.values()
    ]
    arrows = [
        {
            "from": a.source,
            "to": a.target,
            "label": a.label,
            "words": a.words,
            "unmet": a.unmet,
            "cycle": a.cycle,
            "evidence": [place(each) for each in a.evidence],
        }
        for a in built.arrows
    ]
    return json.dumps({"nodes": nodes, "edges": arrows, "cycles": built.cycles}, indent=2, ensure_ascii=False)


def dot(built: Graph) -> str:
    lines = ["digraph system {", "  rankdir=LR; node [shape=box];"]
    looks = {"missing": ", color=red, style=dashed", "outside": ", style=dashed", "input": ""}
    for node in built.nodes.values():
        lines.append(
            f"  {_quoted(node.name)} [label={_quoted(node.name.replace(' ', chr(10), 1))}{looks[node.there]}];"
        )
    for arrow in built.arrows:
        colour = ", color=red" if arrow.unmet or arrow.cycle else ", color=blue" if arrow.words else ""
        ends = f"{_quoted(arrow.source)} -> {_quoted(arrow.target)}"
        lines.append(f"  {ends} [label={_quoted(arrow.label)}, tooltip={_quoted(_evidence(arrow))}{colour}];")
    return "\n".join([*lines, "}"])


def _quoted(words: str) -> str:
    return '"' + words.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
