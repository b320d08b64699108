"""Nodes that differ in name only: states which differ only in what such nodes are called are one.

Every group holds nodes that are equal but for their names and that nothing in the system calls by name. In a state each
is known by what stands on it; the nodes of a group are renamed so that these come in one order. Any renaming within a
group leads to a state with the same future, so it does not matter whether the order is always the same one.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterable, Mapping, Sequence

import msgspec

from seatrial.check.model.pool import Pool, with_metadata
from seatrial.check.model.space import Memo, Slot, State
from seatrial.kube.objects import Node, Object, Pod, canonical, parse_as, to_wire

HOSTNAME = "kubernetes.io/hostname"


def groups(nodes: Iterable[Node], others: Iterable[Pod], named: frozenset[str]) -> tuple[tuple[str, ...], ...]:
    """The names of nodes that can be exchanged; `others` are pods that stay, `named` are called by name somewhere."""
    found: dict[tuple[bytes, tuple[bytes, ...]], list[str]] = {}
    standing = tuple(others)
    for node in nodes:
        name = node.metadata.name
        on_it = tuple(sorted(canonical(nameless(pod)) for pod in standing if pod.spec.node_name == name))
        own = name.encode() if name in named else b""
        found.setdefault((canonical(anonymous(node)) + own, on_it), []).append(name)
    return tuple(tuple(sorted(names)) for names in found.values() if len(names) > 1)


class Renaming:
    """`slots` are those whose objects can speak of a node."""

    def __init__(self, pool: Pool, names: Sequence[Sequence[str]], slots: Iterable[int]) -> None:
        self._pool = pool
        self._groups = tuple(tuple(group) for group in names)
        self._slots = tuple(slots)
        self._about = Memo(self._without_names)
        self._called: dict[tuple[int, Hashable], int] = {}
        self._known = Memo(self._renamed)

    def __call__(self, state: State) -> State:
        parts = tuple([state[slot] for slot in self._slots])
        renamed = self._known[parts]
        if renamed is parts or renamed == parts:
            return state
        after = list(state)
        for slot, part in zip(self._slots, renamed, strict=True):
            after[slot] = part
        return tuple(after)

    def told_apart(self, state: State) -> dict[str, Hashable]:
        """What tells the nodes of a state apart: two with the same can change names, and the state stays what it is."""
        about: dict[str, list[int]] = {name: [] for group in self._groups for name in group}
        for slot in self._slots:
            for number in state[slot]:
                for name, nameless in self._about[number]:
                    about[name].append(nameless)
        return {
            name: (position, tuple(sorted(about[name])))
            for position, group in enumerate(self._groups)
            for name in group
        }

    def _renamed(self, parts: tuple[Slot, ...]) -> tuple[Slot, ...]:
        about: dict[str, list[int]] = {name: [] for group in self._groups for name in group}
        for slot in parts:
            for number in slot:
                for name, nameless in self._about[number]:
                    about[name].append(nameless)
        names: dict[str, str] = {}
        for group in self._groups:
            like = sorted(group, key=lambda name: (sorted(about[name]), name))
            names |= {name: new for name, new in zip(like, group, strict=True) if name != new}
        if not names:
            return parts
        return tuple(tuple(sorted([self._call(number, names) for number in slot])) for slot in parts)

    def _without_names(self, number: int) -> tuple[tuple[str, int], ...]:
        """The nodes that an object speaks of, and for each the object without that name."""
        text = canonical(self._pool[number])
        spoken_of = [name for group in self._groups for name in group if f'"{name}"'.encode() in text]
        return tuple((name, self._with(number, ((name, ""),))) for name in spoken_of)

    def _call(self, number: int, names: Mapping[str, str]) -> int:
        """The number of the same object with nodes called as `names` says."""
        changes = tuple([(name, names[name]) for name, _ in self._about[number] if name in names])
        return self._with(number, changes) if changes else number

    def _with(self, number: int, changes: tuple[tuple[str, str], ...]) -> int:
        found = self._called.get((number, changes))
        if found is None:
            item: Object = self._pool[number]
            new = dict(changes)
            wire = json.loads(msgspec.json.encode(to_wire(item)), object_hook=lambda part: _replaced(part, new))
            found = self._called[number, changes] = self._pool.intern(parse_as(type(item), wire))
        return found


def _replaced(part: dict[str, object], names: Mapping[str, str]) -> dict[str, object]:
    def new(value: object) -> object:
        if isinstance(value, str):
            return names.get(value, value)
        return [new(each) for each in value] if isinstance(value, list) else value

    return {key: new(value) for key, value in part.items()}


def nameless(pod: Pod) -> Pod:
    spec = msgspec.structs.replace(pod.spec, node_name="")
    return msgspec.structs.replace(with_metadata(pod, name="", uid="", resource_version=""), spec=spec)


def anonymous(node: Node) -> Node:
    """The node without what tells it from its like: name, uid, the hostname label, addresses."""
    labels = {key: value for key, value in node.metadata.labels.items() if key != HOSTNAME}
    bare = with_metadata(
        node, name="", uid="", labels=labels, annotations={}, resource_version="", creation_timestamp=None
    )
    status = msgspec.structs.replace(node.status, addresses=(), node_info=None, conditions=())
    spec = msgspec.structs.replace(node.spec, pod_cidr="", pod_cidrs=(), provider_id="", external_id="")
    return msgspec.structs.replace(bare, status=status, spec=spec)
