"""A graph as a picture: layers from left to right, and the picture as SVG.

The layout is the usual one for layered graphs (Sugiyama): arrows that close a cycle are turned for ranking, a node
stands right of all that point to it, long arrows are led through the layers between by points of their own, and a few
sweeps sort each layer by where its neighbours are. Nothing here knows Kubernetes.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from math import inf as infinity
from typing import Final

CHARACTER: Final = 7.3
"""Width of a character of the names, in pixels, at the size they are drawn in; a monospace font's would be 7.2."""
HEIGHT: Final = 40
GAP: Final = 18
BETWEEN: Final = 110
MARGIN: Final = 24
SWEEPS: Final = 12
MOST_LABELS: Final = 60
"""With more lines their labels hide each other: then they are told where one points only."""


@dataclass(frozen=True, slots=True)
class Box:
    """A node as it is drawn: a small line above a name, and the CSS classes that give it its looks."""

    name: str
    over: str
    title: str
    classes: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    source: str
    target: str
    label: str = ""
    classes: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the left upper corners of boxes are, and the points that each line goes through."""

    corners: Mapping[str, tuple[float, float]]
    widths: Mapping[str, float]
    routes: Sequence[tuple[tuple[float, float], ...]]
    size: tuple[float, float]


def layout(boxes: Sequence[Box], lines: Sequence[Line]) -> Layout:
    names = [box.name for box in boxes]
    ahead = _acyclic(names, [(line.source, line.target) for line in lines])
    rank = _ranks(names, ahead)
    # Every line as a chain of one point in each layer between its ends.
    chains: list[list[Hashable]] = []
    layer_of: dict[Hashable, int] = dict(rank.items())
    for number, line in enumerate(lines):
        first, last = sorted((line.source, line.target), key=lambda name: rank[name])
        between: list[Hashable] = [(number, layer) for layer in range(rank[first] + 1, rank[last])]
        layer_of.update({each: each[1] for each in between if isinstance(each, tuple)})
        chains.append([first, *between, last])
    layers: list[list[Hashable]] = [[] for _ in range(max(layer_of.values(), default=0) + 1)]
    for each, number in layer_of.items():
        layers[number].append(each)
    _sort(layers, chains)
    return _coordinates(boxes, lines, layers, chains, rank)


def _acyclic(names: Sequence[str], arrows: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """The arrows with those turned round that close a cycle."""
    following: dict[str, list[str]] = {name: [] for name in names}
    for source, target in arrows:
        following[source].append(target)
    state: dict[str, int] = {}
    back: set[tuple[str, str]] = set()
    for root in names:
        if root in state:
            continue
        state[root] = 1
        work = [(root, iter(following[root]))]
        while work:
            node, rest = work[-1]
            child = next(rest, None)
            if child is None:
                state[node] = 2
                work.pop()
            elif child not in state:
                state[child] = 1
                work.append((child, iter(following[child])))
            elif state[child] == 1:
                back.add((node, child))
    return [(t, s) if (s, t) in back else (s, t) for s, t in arrows if s != t]


def _ranks(names: Sequence[str], ahead: Sequence[tuple[str, str]]) -> dict[str, int]:
    """A layer for every node, right of all that point to it; what nothing points to stands close to its targets."""
    before: dict[str, set[str]] = {name: set() for name in names}
    after: dict[str, set[str]] = {name: set() for name in names}
    for source, target in ahead:
        before[target].add(source)
        after[source].add(target)
    rank: dict[str, int] = {}
    waiting = {name: len(before[name]) for name in names}
    ready = [name for name in names if not waiting[name]]
    order = []
    while ready:
        name = ready.pop()
        order.append(name)
        rank[name] = max((rank[each] + 1 for each in before[name]), default=0)
        for each in after[name]:
            waiting[each] -= 1
            if not waiting[each]:
                ready.append(each)
    for name in reversed(order):
        if after[name] and not before[name]:
            rank[name] = min(rank[each] for each in after[name]) - 1
    return rank


def _sort(layers: list[list[Hashable]], chains: Sequence[Sequence[Hashable]]) -> None:
    """Each layer by the mean place of its neighbours in the layer before, then after, some times over."""
    left: dict[Hashable, list[Hashable]] = {}
    right: dict[Hashable, list[Hashable]] = {}
    for chain in chains:
        for one, other in pairwise(chain):
            left.setdefault(other, []).append(one)
            right.setdefault(one, []).append(other)
    for sweep in range(SWEEPS):
        neighbours, numbers = (
            (left, range(1, len(layers))) if sweep % 2 == 0 else (right, range(len(layers) - 2, -1, -1))
        )
        for number in numbers:
            beside = layers[number - 1 if sweep % 2 == 0 else number + 1]
            place = {each: index for index, each in enumerate(beside)}
            own = {each: index for index, each in enumerate(layers[number])}

            def mean(
                each: Hashable,
                place: Mapping[Hashable, int] = place,
                own: Mapping[Hashable, int] = own,
                neighbours: Mapping[Hashable, list[Hashable]] = neighbours,
            ) -> tuple[float, int]:
                places = [place[other] for other in neighbours.get(each, ()) if other in place]
                return (sum(places) / len(places) if places else own[each], own[each])

            layers[number].sort(key=mean)


def _coordinates(
    boxes: Sequence[Box],
    lines: Sequence[Line],
    layers: Sequence[Sequence[Hashable]],
    chains: Sequence[Sequence[Hashable]],
    rank: Mapping[str, int],
) -> Layout:
    widths = {box.name: max(len(box.title), len(box.over) * 0.8) * CHARACTER + 24 for box in boxes}
    columns = [max((widths[str(each)] for each in layer if each in widths), default=0.0) for layer in layers]
    starts = [MARGIN + sum(columns[:number]) + BETWEEN * number for number in range(len(layers))]
    tall = [sum(HEIGHT if each in widths else 4 for each in layer) + GAP * max(0, len(layer) - 1) for layer in layers]
    whole = max(tall, default=0)
    middle: dict[Hashable, float] = {}
    for layer, height in zip(layers, tall, strict=True):
        y = MARGIN + (whole - height) / 2
        for each in layer:
            own = HEIGHT if each in widths else 4
            middle[each] = y + own / 2
            y += own + GAP
    _straighten(layers, chains, middle, widths)
    lowest = max((y for y in middle.values()), default=0.0)
    highest = min((y for y in middle.values()), default=0.0)
    shift = MARGIN + HEIGHT / 2 - highest
    corners = {box.name: (starts[rank[box.name]], middle[box.name] - HEIGHT / 2 + shift) for box in boxes}
    routes = []
    for line, chain in zip(lines, chains, strict=True):
        points: list[tuple[float, float]] = []
        for each in chain[1:-1]:
            assert isinstance(each, tuple)
            number = each[1]
            points += [(starts[number], middle[each] + shift), (starts[number] + columns[number], middle[each] + shift)]
        first, last = str(chain[0]), str(chain[-1])
        begin = (corners[first][0] + widths[first], middle[first] + shift)
        end = (corners[last][0], middle[last] + shift)
        route = (begin, *points, end)
        routes.append(route if line.source == first else route[::-1])
    width = starts[-1] + columns[-1] + MARGIN if layers else 2 * MARGIN
    return Layout(corners, widths, routes, (width, lowest - highest + HEIGHT + 2 * MARGIN))


def _straighten(
    layers: Sequence[Sequence[Hashable]],
    chains: Sequence[Sequence[Hashable]],
    middle: dict[Hashable, float],
    widths: Mapping[str, float],
) -> None:
    """Moves each node towards the mean height of its neighbours, without passing the ones above and below."""
    near: dict[Hashable, list[Hashable]] = {}
    for chain in chains:
        for one, other in pairwise(chain):
            near.setdefault(one, []).append(other)
            near.setdefault(other, []).append(one)

    def half(each: Hashable) -> float:
        return (HEIGHT if each in widths else 4) / 2

    for _ in range(SWEEPS):
        for layer in layers:
            wanted = [
                sum(middle[o] for o in near[each]) / len(near[each]) if near.get(each) else middle[each]
                for each in layer
            ]
            floor = -infinity
            for index, each in enumerate(layer):
                roof = infinity
                if index + 1 < len(layer):
                    below = layer[index + 1]
                    roof = middle[below] - half(below) - GAP - half(each)
                middle[each] = max(floor + half(each), min(wanted[index], roof))
                floor = middle[each] + half(each) + GAP


STYLE: Final = """\
svg{background:#fff;font-family:system-ui,sans-serif}
.box rect{fill:#f4f6f8;stroke:#7b8794}.box .over{font-size:10px;fill:#52606d}
.box .title{font-size:12.5px;fill:#1f2933}
.workload rect{fill:#e3f0ff;stroke:#2b6cb0}.network rect{fill:#e6f7ee;stroke:#2f855a}
.config rect{fill:#fff7e0;stroke:#b7791f}.storage rect{fill:#f3e8ff;stroke:#6b46c1}
.access rect{fill:#f0f0f0;stroke:#4a5568}
.outside rect{stroke-dasharray:4 3;fill:#fff}
.missing rect{fill:#ffe3e3;stroke:#c53030;stroke-dasharray:4 3}
.line path{fill:none;stroke:#9aa5b1;stroke-width:1.3}.line text{font-size:9.5px;fill:#52606d;text-anchor:middle}
.inferred path{stroke:#2b6cb0}.unmet path,.cycle path{stroke:#c53030;stroke-width:2}
.unmet text,.cycle text{fill:#c53030}
.line text{paint-order:stroke;stroke:#fff;stroke-width:3px}
"""


_HEAD: Final = (
    '<defs><marker id="end" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
    '<path d="M0 0L8 4L0 8z" fill="#7b8794"/></marker></defs>'
)


def svg(boxes: Sequence[Box], lines: Sequence[Line], title: str) -> str:
    """The picture. Each box and line tells its evidence when one points at it."""
    drawn = layout(boxes, lines)
    width, height = drawn.size
    size = f'width="{width:.0f}" height="{height:.0f}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" {size} role="img">',
        f"<title>{escape(title)}</title><style>{STYLE}</style>{_HEAD}",
    ]
    for line, route in zip(lines, drawn.routes, strict=True):
        parts.append(_line(line, route, labelled=len(lines) <= MOST_LABELS))
    for box in boxes:
        parts.append(_box(box, drawn.corners[box.name], drawn.widths[box.name]))
    return "\n".join([*parts, "</svg>"])


def _box(box: Box, corner: tuple[float, float], width: float) -> str:
    x, y = corner
    return (
        f'<g class="box {escape(box.classes)}"><title>{escape(box.hint or box.name)}</title>'
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{HEIGHT}" rx="6"/>'
        f'<text class="over" x="{x + 12:.1f}" y="{y + 15:.1f}">{escape(box.over)}</text>'
        f'<text class="title" x="{x + 12:.1f}" y="{y + 30:.1f}">{escape(box.title)}</text></g>'
    )


def _line(line: Line, route: Sequence[tuple[float, float]], *, labelled: bool) -> str:
    path = f"M{route[0][0]:.1f} {route[0][1]:.1f}"
    for (x, y), (to_x, to_y) in pairwise(route):
        bend = (to_x - x) / 2
        path += f"C{x + bend:.1f} {y:.1f} {to_x - bend:.1f} {to_y:.1f} {to_x:.1f} {to_y:.1f}"
    (x, y), (to_x, to_y) = route[0], route[1]
    label = ""
    if line.label and labelled:
        label = f'<text x="{(x + to_x) / 2:.1f}" y="{(y + to_y) / 2 - 3:.1f}">{escape(line.label)}</text>'
    return (
        f'<g class="line {escape(line.classes)}"><title>{escape(line.hint)}</title>'
        f'<path d="{path}" marker-end="url(#end)"/>{label}</g>'
    )
