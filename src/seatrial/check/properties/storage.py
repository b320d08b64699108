"""`storage/attaches`: every claim gets its volume, and every pod can have its volumes where it is.

Asked of the binder, the scheduler and the attach controller's rules that run:

* a pod that names its node is never scheduled, so nobody chooses a node for a claim that waits for its first consumer;
* a volume that one node has at a time is not there for pods on another: pods that share a claim, and the new pod of a
  rollout that may not take the old one away first;
* claims, volumes, their zones and nodes, and how many volumes a node takes: pods are placed in the order of the files
  with all that known, where files hold PersistentVolumes or CSINodes.

Who provisions a class that files do not speak of is taken to do so (`storage/provisions`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import msgspec

from seatrial.check import machines
from seatrial.check.model.pool import NOW, with_metadata
from seatrial.check.placing.arrivals import State
from seatrial.check.placing.claims import Storage, class_of
from seatrial.check.placing.ground import Ground, told
from seatrial.check.properties import Property, Question
from seatrial.check.system import Entry, System
from seatrial.check.verdicts import Answer, Covered, Step, Verdict
from seatrial.control import relations
from seatrial.control.volumes import attachment, binder, matching
from seatrial.control.writes import RecordEvent, Update
from seatrial.kube.objects import (
    CSIDriver,
    DaemonSet,
    Deployment,
    Job,
    Object,
    PersistentVolume,
    PersistentVolumeClaim,
    Pod,
    PodSpec,
    StatefulSet,
    StorageClass,
)

NAME = "storage/attaches"
PROPERTIES = (
    Property(
        name=NAME,
        asks="does every claim get a volume, and every pod its volumes on the node it is on?",
        formally="every claim of a pod is bound in the end, and no reachable layout has pods on two nodes that mount a "
        "volume which one node has at a time",
        premise="pods of the system mount claims",
        sometimes="a pod with a claim has a node",
    ),
)
ASSUMPTIONS: Mapping[str, str] = {
    "storage/provisions": "classes that files do not speak of provision what is asked for, at once",
    "storage/attached-once": "a ReadWriteOnce volume is on one node at a time, unless its driver attaches nothing",
    "others/as-written": "other workloads stand where the order of the files puts them",
}
_ASSUMED = ("storage/provisions", "storage/attached-once", "others/as-written")


@dataclass(frozen=True, slots=True)
class Mount:
    """A claim that pods of an owner mount: where they say so, and the claim, from the files or made for them."""

    owner: Entry
    path: tuple[str | int, ...]
    claim: PersistentVolumeClaim
    entry: Entry | None
    """The claim's own, if it is shared by all pods of the owner."""


def check(question: Question, _wanted: frozenset[str]) -> list[Verdict]:
    system = question.system
    mounts = list(_mounts(system))
    if not mounts:
        return []
    verdicts = [v for each in mounts if (v := _never_bound(question, each)) is not None]
    shared: dict[str, list[Mount]] = {}
    for each in mounts:
        if each.entry is not None:
            shared.setdefault(str(each.entry.key), []).append(each)
    states = 0
    complete = True
    for users in shared.values():
        found, looked, whole = _shared(question, users)
        states += looked
        complete = complete and whole
        verdicts += found
    if question.system.of("PersistentVolume") or question.system.of("CSINode"):
        verdicts += _placed(question)
    base = _base(question, "system")
    if verdicts:
        return verdicts
    if not complete:
        message = "the budget for layouts ran out; in those that were looked at every pod can have its volumes"
        return [msgspec.structs.replace(base, verdict=Answer.UNKNOWN, message=message)]
    many = len({(each.claim.metadata.namespace, each.claim.metadata.name) for each in mounts})
    message = f"{many} claim{'s' * (many > 1)} of the system can be bound and attached where the pods are"
    return [msgspec.structs.replace(base, message=message, covered=Covered(states, 0))]


def _placed(question: Question) -> list[Verdict]:
    """Pods that their volumes keep from every node, with the volumes of the files."""
    minor = int(question.system.version.split(".")[1])
    found = []
    for each in Storage(question.system, question.nodes, minor).unplaced():
        mounts = [mount for mount in _mounts(question.system) if mount.owner is each.owner]
        places = [mount.owner.place(*mount.path) for mount in mounts]
        places += [mount.entry.place("spec") for mount in mounts if mount.entry is not None]
        places += [volume.place("spec", "nodeAffinity") for volume in question.system.of("PersistentVolume")]
        found.append(
            msgspec.structs.replace(
                _base(question, str(each.owner.key)),
                verdict=Answer.REFUTED,
                message=f"pod {each.index + 1} finds no node with its volumes: {each.message}",
                places=tuple(dict.fromkeys(places)),
                trace=(
                    Step("User", f"installs the system; {each.index} pods of {each.owner.key} have a node"),
                    Step("Scheduler", each.message),
                ),
                method="simulation",
            )
        )
    return found


def _base(question: Question, subject: str) -> Verdict:
    return Verdict(
        property=NAME,
        subject=subject,
        verdict=Answer.PROVED,
        message="",
        method="exploration",
        assumptions=(question.machines.name, *_ASSUMED),
    )


def _mounts(system: System) -> Iterator[Mount]:
    claims = {each.key: each for each in system.of("PersistentVolumeClaim")}
    for entry in system.entries:
        workload = entry.typed
        spec, inside = _spec(entry)
        if spec is None:
            continue
        namespace = entry.key.namespace
        for index, volume in enumerate(spec.volumes):
            path = (*inside, "volumes", index)
            if volume.persistent_volume_claim is not None:
                name = volume.persistent_volume_claim.claim_name
                found = next((e for key, e in claims.items() if (key.namespace, key.name) == (namespace, name)), None)
                if found is not None and isinstance(found.typed, PersistentVolumeClaim):
                    yield Mount(entry, path, found.typed, found)
            elif volume.ephemeral is not None and volume.ephemeral.volume_claim_template is not None:
                made = PersistentVolumeClaim(spec=volume.ephemeral.volume_claim_template.spec)
                yield Mount(entry, path, with_metadata(made, name=volume.name, namespace=namespace), None)
        if isinstance(workload, StatefulSet):
            for index, template in enumerate(workload.spec.volume_claim_templates):
                name = f"{template.metadata.name}-{entry.key.name}-0"
                path = ("spec", "volumeClaimTemplates", index)
                yield Mount(entry, path, with_metadata(template, name=name, namespace=namespace), None)


def _spec(entry: Entry) -> tuple[PodSpec | None, tuple[str | int, ...]]:
    if isinstance(entry.typed, Pod):
        return entry.typed.spec, ("spec",)
    if isinstance(entry.typed, machines.WORKLOADS):
        return machines.template_of(entry.typed).spec, ("spec", "template", "spec")
    return None, ()


def _never_bound(question: Question, mount: Mount) -> Verdict | None:
    """A claim that waits for a node to be chosen, of pods that name theirs."""
    spec, inside = _spec(mount.owner)
    assert spec is not None
    storage_class = class_of(question.system, mount.claim)
    if not spec.node_name or not matching.is_delayed(storage_class) or storage_class is None:
        return None
    pods = [mount.owner.typed] if isinstance(mount.owner.typed, Pod) else _pods(mount.owner)
    claim = with_metadata(mount.claim, uid=mount.claim.metadata.name)
    objects: dict[type[Object], Sequence[Object]] = {
        StorageClass: question.system.all(StorageClass),
        PersistentVolume: question.system.all(PersistentVolume),
        Pod: pods,
    }
    controller = next(each for each in binder.CONTROLLERS if each.subject is PersistentVolumeClaim)
    decision = controller.reconcile(relations.observe(controller, claim, objects, NOW))
    if any(isinstance(write, Update) for write in decision.writes):
        return None
    said = next((write.message for write in decision.writes if isinstance(write, RecordEvent)), "")
    kind = question.system.of("StorageClass")
    where = next(each for each in kind if each.typed is storage_class)
    places = [mount.owner.place(*inside, "nodeName"), where.place("volumeBindingMode")]
    places.append(mount.entry.place("spec", "storageClassName") if mount.entry else mount.owner.place(*mount.path))
    return msgspec.structs.replace(
        _base(question, str(mount.owner.key)),
        verdict=Answer.REFUTED,
        message=f"its pods never start: claim {mount.claim.metadata.name} is bound when the scheduler has chosen a "
        f"node (WaitForFirstConsumer), and nodeName leaves the scheduler out",
        places=tuple(places),
        trace=(
            Step("User", f"installs {mount.owner.key.name}; its pods name {spec.node_name} themselves"),
            Step("Scheduler", "has nothing to decide: the pods have a node, so it chooses none for their claim"),
            Step("PersistentVolume controller", f"leaves {mount.claim.metadata.name} Pending: {said}"),
            Step("Node", f"{spec.node_name} waits for the volume, for ever"),
        ),
        method="simulation",
    )


def _pods(entry: Entry) -> list[Pod]:
    assert isinstance(entry.typed, machines.WORKLOADS)
    return machines.pods_of(entry.typed, 1)


def _is_exclusive(system: System, claim: PersistentVolumeClaim) -> bool:
    """Whether one node at a time can have the claim's volume."""
    volume = _volume(system, claim)
    if volume is None:
        storage_class = class_of(system, claim)
        provisioner = storage_class.provisioner if storage_class is not None else ""
        if provisioner == "kubernetes.io/no-provisioner":
            return False
        source = msgspec.structs.replace(PersistentVolume().spec, access_modes=claim.spec.access_modes)
        return not attachment.is_for_many(PersistentVolume(spec=source)) and _needs_attaching(system, provisioner)
    if attachment.is_for_many(volume):
        return False
    if volume.spec.csi is None:
        return False
    return _needs_attaching(system, volume.spec.csi.driver)


def _needs_attaching(system: System, driver: str) -> bool:
    known = next((each for each in system.all(CSIDriver) if each.metadata.name == driver), None)
    return known is None or known.spec.attach_required is not False


def _volume(system: System, claim: PersistentVolumeClaim) -> PersistentVolume | None:
    """The volume of the files that the claim gets, if it gets one of them."""
    volumes = system.all(PersistentVolume)
    if claim.spec.volume_name:
        return next((each for each in volumes if each.metadata.name == claim.spec.volume_name), None)
    named = [
        msgspec.structs.replace(each, status=msgspec.structs.replace(each.status, phase="Available"))
        for each in volumes
    ]
    return matching.best(claim, named, delayed=False)


def _shared(question: Question, users: Sequence[Mount]) -> tuple[list[Verdict], int, bool]:
    """Whether pods that mount one claim can come to stand on several nodes; states looked at; whether these are all."""
    system = question.system
    claim = users[0].claim
    entry = users[0].entry
    assert entry is not None
    once = "ReadWriteOncePod" in claim.spec.access_modes
    if not once and not _is_exclusive(system, claim):
        return [], 0, True
    owners = {str(each.owner.key): each for each in users}
    groups = []
    for group in machines.crowd(system, question.nodes):
        mount = next((each for key, each in owners.items() if group.owner in (key, f"Pod {each.owner.key.name}")), None)
        if mount is None or isinstance(mount.owner.typed, Job):
            continue
        groups.append(replace(group, count=group.count + _rolls_ahead(mount.owner.typed)))
    daemons = [each.owner for each in owners.values() if isinstance(each.owner.typed, DaemonSet)]
    total = sum(group.count for group in groups)
    if daemons and len(question.nodes) > 1:
        return [_apart(question, users, claim, entry, (), ())], 1, True
    if total < 2:
        return [], 0, True
    if once:
        return [_apart(question, users, claim, entry, (), ())], 1, True
    others = _others(question, [each.owner for each in owners.values()])
    ground = replace(Ground.of(system, question.nodes), standing=tuple(others))
    arrivals = ground.arrivals(groups)

    def on_two(state: State) -> bool:
        return sum(bool(content) for content in state.layout) > 1

    graph = arrivals.explored(ground.budget, stop=on_two)
    if graph.complete:
        return [], len(graph.edges), True
    last = graph.states[len(graph.edges)]
    if not on_two(last):
        return [], len(graph.edges), False
    moves = arrivals.walk([graph.states[number] for number in graph.trace(len(graph.edges))])
    names = [arrivals.nodes[move.node].metadata.name for move in moves]
    return [_apart(question, users, claim, entry, told(arrivals, moves), names)], len(graph.edges), True


def _rolls_ahead(owner: object) -> int:
    """One pod more at a time, where a rollout has to have it ready before it may take an old one away."""
    if not isinstance(owner, Deployment):
        return 0
    count = machines.replicas(owner)
    return int(bool(machines.resolved_surge(owner)) and not machines.resolved_unavailable(owner, count))


def _others(question: Question, owners: Sequence[Entry]) -> list[Pod]:
    """Where the pods of all others stand."""
    names = {str(each.key) for each in owners}
    entries = tuple(each for each in question.system.entries if str(each.key) not in names)
    return machines.place(replace(question.system, entries=entries), question.nodes)[0]


def _apart(
    question: Question,
    users: Sequence[Mount],
    claim: PersistentVolumeClaim,
    entry: Entry,
    steps: Sequence[Step],
    nodes: Sequence[str],
) -> Verdict:
    owner = users[0].owner
    workload = owner.typed
    where = f"on {nodes[0]} and {nodes[-1]}" if nodes else "at the same time"
    rolls = isinstance(workload, Deployment) and machines.replicas(workload) < 2 and len(users) == 1
    mode = claim.spec.access_modes[0] if claim.spec.access_modes else "ReadWriteOnce"
    if rolls:
        what = (
            "its rollout never ends: the new pod waits for the volume that the old one has, and the old one for the new"
        )
    else:
        what = "not all of its pods start" if len(users) == 1 else "not all pods that share it start"
    places = [entry.place("spec", "accessModes"), *(each.owner.place(*each.path) for each in users)]
    if isinstance(workload, Deployment):
        places.append(owner.place("spec", "strategy") if rolls else owner.place("spec", "replicas"))
    spec, inside = _spec(owner)
    apart = spec.affinity.pod_anti_affinity if spec is not None and spec.affinity else None
    if apart is not None and apart.required_during_scheduling_ignored_during_execution:
        places.append(owner.place(*inside, "affinity", "podAntiAffinity"))
    holds = (
        f"{nodes[0]} has the volume of {claim.metadata.name}; the pod on {nodes[-1]} waits for it"
        if nodes
        else (f"one pod has the volume of {claim.metadata.name}; the others wait for it")
    )
    return msgspec.structs.replace(
        _base(question, str(owner.key)),
        verdict=Answer.REFUTED,
        message=f"{what}: pods {where} mount claim {claim.metadata.name}, whose volume ({mode}) one "
        f"{'pod' if mode == 'ReadWriteOncePod' else 'node'} has at a time",
        places=tuple(dict.fromkeys(places)),
        trace=(
            Step("User", f"installs the system{', and changes the pod template' if rolls else ''}"),
            *steps,
            Step("Attach/detach controller" if mode != "ReadWriteOncePod" else "Scheduler", holds),
        ),
    )
