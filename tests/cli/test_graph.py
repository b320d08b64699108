"""`seatrial graph`: what it draws, where the evidence stands, and that the picture is one."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seatrial.check.reading import graph
from seatrial.cli import drawing, main

SHOP = Path(__file__).parents[2] / "examples/shop/deploy"
WAITING = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: NAME}
spec:
  selector: {matchLabels: {app: NAME}}
  template:
    metadata: {labels: {app: NAME}}
    spec:
      initContainers:
        - {name: wait, image: busybox, command: [sh, -c, "until nc -z OTHER 80; do sleep 1; done"]}
      containers:
        - {name: main, image: main:1}
---
apiVersion: v1
kind: Service
metadata: {name: NAME}
spec:
  selector: {app: NAME}
  ports: [{port: 80}]
---
"""


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    code = main(["graph", *words])
    return code, capsys.readouterr().out


def circle(tmp_path: Path) -> Path:
    file = tmp_path / "circle.yaml"
    file.write_text("".join(WAITING.replace("NAME", one).replace("OTHER", other) for one, other in ("ab", "ba")))
    return file


def test_every_arrow_of_the_list_has_its_evidence(capsys: pytest.CaptureFixture[str]) -> None:
    code, text = run(capsys, str(SHOP))
    assert code == 0
    assert "uses         ─▶ Service default/store" in text
    assert "config.yaml:10 'store:6379'" in text
    assert all(".yaml:" in line for line in text.splitlines() if "─▶" in line)


def test_pods_that_wait_for_each_other_are_a_circle(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, text = run(capsys, str(circle(tmp_path)))
    assert code == 1
    assert "(waits in a circle)" in text
    assert "circle: Deployment default/a ─▶ Deployment default/b ─▶ Service default/a ─▶ Service default/b" in text


def test_what_is_missing_is_a_node_of_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "web.yaml"
    file.write_text(
        WAITING.replace("NAME", "web").replace("OTHER", "web")
        + "---\n"
        + (
            "apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: {name: h}\n"
            "spec: {maxReplicas: 2, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: nobody}}\n"
        )
    )
    code, text = run(capsys, str(file), "--output", "json")
    found = json.loads(text)
    assert code == 1
    assert [each for each in found["nodes"] if each["there"] == "missing"] == [
        {"name": "Deployment default/nobody", "sort": "workload", "there": "missing", "place": None}
    ]
    (arrow,) = [each for each in found["edges"] if each["unmet"]]
    assert (arrow["from"], arrow["evidence"][0]["line"]) == ("HorizontalPodAutoscaler default/h", 25)


def test_the_picture_is_well_formed_and_shows_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, text = run(capsys, str(circle(tmp_path)), "--output", "svg")
    root = ElementTree.fromstring(text)
    classes = [group.get("class", "") for group in root.iter("{http://www.w3.org/2000/svg}g")]
    assert code == 1
    assert sum("box" in each.split() for each in classes) == 4
    assert sum("cycle" in each.split() for each in classes) == 4


def test_for_graphviz_names_are_quoted(capsys: pytest.CaptureFixture[str]) -> None:
    _, text = run(capsys, str(SHOP), "--output", "dot")
    assert text.startswith("digraph system {")
    assert '"Service default/web" -> "Deployment default/web" [label="selector"' in text


def test_a_file_that_cannot_be_read_exits_with_3(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, str(tmp_path / "nowhere"))[0] == 3
    assert run(capsys, str(tmp_path))[0] == 3


NAMES = st.integers(1, 12).flatmap(
    lambda count: st.tuples(
        st.just([f"n{n}" for n in range(count)]),
        st.lists(st.tuples(st.integers(0, count - 1), st.integers(0, count - 1)), max_size=20),
    )
)


@given(NAMES)
def test_boxes_never_overlap_and_lines_join_what_they_should(drawn: tuple[list[str], list[tuple[int, int]]]) -> None:
    names, pairs = drawn
    boxes = [drawing.Box(name, "Kind", name) for name in names]
    lines = [drawing.Line(names[one], names[other]) for one, other in pairs]
    found = drawing.layout(boxes, lines)
    for one, other in combinations(names, 2):
        (x, y), (to_x, to_y) = found.corners[one], found.corners[other]
        beside = x + found.widths[one] <= to_x or to_x + found.widths[other] <= x
        assert beside or abs(y - to_y) >= drawing.HEIGHT
    for line, route in zip(lines, found.routes, strict=True):
        for end, name in ((route[0], line.source), (route[-1], line.target)):
            x, y = found.corners[name]
            assert end[0] in (pytest.approx(x), pytest.approx(x + found.widths[name]))
            assert end[1] == pytest.approx(y + drawing.HEIGHT / 2)
    width, height = found.size
    assert all(x >= 0 and x + found.widths[n] <= width for n, (x, _) in found.corners.items())
    assert all(y >= 0 and y + drawing.HEIGHT <= height for _, y in found.corners.values())


@given(st.dictionaries(st.sampled_from("abcdef"), st.sets(st.sampled_from("abcdef"))))
def test_circles_are_the_components_of_a_plain_reading(edges: dict[str, set[str]]) -> None:
    def reached(start: str) -> set[str]:
        seen: set[str] = set()
        todo = list(edges.get(start, ()))
        while todo:
            each = todo.pop()
            if each not in seen:
                seen.add(each)
                todo += edges.get(each, ())
        return seen

    plain = {
        tuple(sorted(other for other in "abcdef" if other in reached(one) and one in reached(other)))
        for one in "abcdef"
        if one in reached(one)
    }
    assert set(graph.cycles(edges)) == plain
