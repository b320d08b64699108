"""A script: what users, nodes and time do to a namespace, as values that read and write as JSON.

In objects `$NS` is the history's namespace and `$NOW` the time. Objects are named `Kind/name`. The names that upstream
draws at random have a stable one (`world.World`); `Kind/#3` means the fourth of the objects of that kind that are
there, in an order that two runs share, counted round.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import msgspec

from seatrial.kube.objects import JsonObject


class Command(msgspec.Struct, frozen=True, tag_field="do", tag=str.lower, omit_defaults=True):
    """One step of a script."""


class Create(Command, frozen=True):
    object: JsonObject


class Patch(Command, frozen=True):
    """A strategic merge patch; `subresource` is "", "status" or "scale"."""

    target: str
    patch: JsonObject
    subresource: str = ""
    seconds: float = 0


class Delete(Command, frozen=True):
    target: str
    options: JsonObject = {}
    seconds: float = 0
    """How long it takes until upstream has looked at it: not before is it compared."""


class Pods(Command, frozen=True):
    """The kubelet's and the scheduler's part, for the pods of `where` that can still do it (`play.ELIGIBLE`).

    `become`: running, ready, unready, failed, disrupted (failed, and it is said that a
    disruption did it), succeeded, deleted (asked to go), gone (done with going), evicted.
    `pick` are positions among them in a stable order, counted round; without it all do. `where` is the beginning of
    their real names. `node` is where pods without a node are put.
    """

    become: str
    pick: tuple[int, ...] | None = None
    where: str = ""
    node: str = "n1"
    detail: JsonObject = {}
    """More of the pod's status, e.g. a failed container's exit code."""
    seconds: float = 0


class Nodes(Command, frozen=True):
    """The node controllers' part when a node is lost, for the node `name` and the pods on it (`play.Player`).

    `become`: lost (Ready is Unknown and the taints say so), back (no more), silent (its pods are not ready), evicting
    (taint eviction deletes its pods), collected (pod garbage collection: its pods failed and are gone), dropped (its
    pods are gone at once), heard (its kubelet is there again: what was to go is gone, the others are ready). A node is
    `Node/#0` or only a name.
    """

    become: str
    name: str


class Relabel(Command, frozen=True):
    """Labels (None takes one away) of some pods."""

    labels: dict[str, str | None]
    pick: tuple[int, ...] | None = None
    where: str = ""


class Wait(Command, frozen=True):
    seconds: float


AnyCommand = Create | Patch | Delete | Pods | Nodes | Relabel | Wait
Choices = list[tuple[int, Callable[[], AnyCommand]]]
"""Commands to draw from, each with its weight."""
Snapshot = dict[str, Any]
"""JSON: `answers` (what of the command was refused), `objects` by stable name, `alike` (objects without a name of their
own, counted), `hosts` (nodes with their pods, counted), `events` (their messages), `loud` (objects with so many events
that upstream swallows some)."""


class Script(msgspec.Struct, frozen=True, omit_defaults=True):
    kind: str
    """The name of the module under `kinds` that made it."""
    seed: str
    commands: tuple[AnyCommand, ...]
    given: tuple[JsonObject, ...] = ()
    """Objects of the whole cluster that are there before, the same for every history of the kind: its nodes."""
    nodes_alike: bool = False
    """Which of the history's own nodes is which does not count, only what is on each."""


class Recording(msgspec.Struct, frozen=True):
    """What upstream did: one snapshot after each command.

    `times` are when each command was given and when its snapshot was taken, in seconds since a full second: back-offs
    and deadlines run on in between, so that who compares does the same at the same instants.
    """

    script: Script
    snapshots: tuple[Snapshot, ...]
    times: tuple[tuple[float, float], ...] = ()


def lasts_s(command: AnyCommand) -> float:
    """How long to wait after a command, beyond what every step takes."""
    return 0 if isinstance(command, Create | Relabel | Nodes) else command.seconds


def drawn(random: Random, choices: Choices) -> AnyCommand:
    return random.choices([make for _, make in choices], [weight for weight, _ in choices])[0]()


def losses(name: Callable[[], str], end: str = "collected") -> Choices:
    """What befalls a node that is lost, and what its controllers do to the pods on it.

    The `end` of pods whose own controller deletes failed ones is "dropped": who deletes them first would be a race.
    """
    return [
        (5, lambda: Nodes("silent", name())),
        (5, lambda: Nodes("evicting", name())),
        (4, lambda: Nodes(end, name())),
        (5, lambda: Nodes("heard", name())),
    ]


def told(command: AnyCommand) -> str:
    """A command as one line of a story."""
    match command:
        case Create(made):
            return f"create {made['kind']}/{made['metadata'].get('name', '')} {_short(made.get('spec', {}))}"
        case Patch(target, patch, subresource):
            return f"patch {target}{' ' + subresource if subresource else ''} {_short(patch)}"
        case Delete(target, options):
            return f"delete {target} {_short(options) if options else ''}".strip()
        case Pods(become, pick, where):
            return f"pods {where or 'of all'}, {'each' if pick is None else f'picked by {list(pick)}'}: {become}"
        case Nodes(become, name):
            return f"node {name}: {become}"
        case Relabel(labels, pick, where):
            return f"label pods {where or 'of all'}, {'each' if pick is None else list(pick)}: {labels}"
        case Wait(seconds):
            return f"{seconds:g} s pass"


def _short(value: object) -> str:
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= 400 else text[:400] + "…"
