"""The index never loses anything: on random systems it finds what looking at everything finds, in both directions."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from seatrial.cluster.index import Index
from seatrial.control import relations
from seatrial.control.controller import Controller, Decision, Read, Relation, Seen
from seatrial.kube.objects import (
    ConfigMap,
    Deployment,
    LabelSelector,
    Lease,
    Namespace,
    Node,
    Object,
    ObjectMeta,
    OwnerReference,
    PersistentVolume,
    PersistentVolumeClaim,
    Pod,
    PodSpec,
    ReplicaSet,
    Service,
)
from seatrial.kube.objects.meta import LabelSelectorRequirement
from seatrial.kube.objects.services import ObjectReference, ServiceSpec
from seatrial.kube.objects.storage import PersistentVolumeSpec
from seatrial.kube.objects.volumes import (
    EphemeralVolumeSource,
    PersistentVolumeClaimSpec,
    PersistentVolumeClaimVolumeSource,
    Volume,
)
from seatrial.kube.objects.workloads import DeploymentSpec, ReplicaSetSpec

NOW = datetime(2030, 1, 1, tzinfo=UTC)
NAMES = ("a", "b", "c")
LABELS = st.dictionaries(st.sampled_from(("app", "tier", relations.POD_TEMPLATE_HASH)), st.sampled_from(NAMES))
UIDS = tuple(f"uid-{number}" for number in range(8))
SELECTORS = st.builds(
    LabelSelector,
    match_labels=LABELS,
    match_expressions=st.sampled_from(((), (LabelSelectorRequirement(key="app", operator="Exists"),))),
)
OWNERS = st.lists(
    st.builds(OwnerReference, uid=st.sampled_from(UIDS), controller=st.booleans()),
    max_size=2,
    unique_by=lambda o: o.uid,
).map(tuple)
META = st.builds(
    ObjectMeta,
    name=st.sampled_from(NAMES),
    namespace=st.sampled_from(NAMES),
    uid=st.sampled_from(UIDS),
    labels=LABELS,
    owner_references=OWNERS,
)
CLUSTER_META = st.builds(ObjectMeta, name=st.sampled_from(NAMES), uid=st.sampled_from(UIDS), owner_references=OWNERS)
VOLUMES = st.sampled_from(
    (
        (),
        (Volume(name="a", ephemeral=EphemeralVolumeSource()),),
        (Volume(name="v", persistent_volume_claim=PersistentVolumeClaimVolumeSource(claim_name="a")),),
    )
)
CLAIM_REFS = st.none() | st.builds(ObjectReference, namespace=st.sampled_from(NAMES), name=st.sampled_from(NAMES))
OBJECTS = st.one_of(
    st.builds(Pod, metadata=META, spec=st.builds(PodSpec, node_name=st.sampled_from(NAMES), volumes=VOLUMES)),
    st.builds(
        PersistentVolumeClaim,
        metadata=META,
        spec=st.builds(PersistentVolumeClaimSpec, volume_name=st.sampled_from(("", *NAMES))),
    ),
    st.builds(PersistentVolume, metadata=CLUSTER_META, spec=st.builds(PersistentVolumeSpec, claim_ref=CLAIM_REFS)),
    st.builds(Service, metadata=META, spec=st.builds(ServiceSpec, selector=LABELS)),
    st.builds(Deployment, metadata=META, spec=st.builds(DeploymentSpec, selector=SELECTORS)),
    st.builds(ReplicaSet, metadata=META, spec=st.builds(ReplicaSetSpec, selector=SELECTORS)),
    st.builds(ConfigMap, metadata=META),
    st.builds(Lease, metadata=META),
    st.builds(Node, metadata=CLUSTER_META),
    st.builds(Namespace, metadata=CLUSTER_META),
)
SUBJECTS = (Deployment, ReplicaSet, Service, Node, Namespace, PersistentVolumeClaim, PersistentVolume)
SELECTING = {Deployment, ReplicaSet, Service}
READ_KINDS = (Pod, ReplicaSet, ConfigMap, Lease, PersistentVolumeClaim, PersistentVolume)
HISTORY = st.lists(st.tuples(st.booleans(), OBJECTS), max_size=40)


def makes_sense(subject: type[Object], relation: Relation) -> bool:
    """Pods run on nodes, objects are within namespaces, and only what has a selector selects."""
    match relation:
        case Relation.SELECTED | Relation.SIBLING:
            return subject in SELECTING
        case Relation.WITHIN:
            return subject is Namespace
        case Relation.HOSTED:
            return subject is Node
    return True


def reads(subject: type[Object]) -> list[Read]:
    relations = [relation for relation in Relation if makes_sense(subject, relation)]
    return [Read(kind, relation, label="app") for relation in relations for kind in READ_KINDS]


def nothing(_: Seen) -> Decision:
    return Decision()


@settings(max_examples=150, deadline=None)
@given(HISTORY)
def test_the_index_finds_what_looking_at_everything_finds(history: list[tuple[bool, Object]]) -> None:
    index, everything = Index(), dict[object, Object]()
    for goes, obj in history:
        if goes:
            index.remove(obj.key)
            everything.pop(obj.key, None)
        else:
            index.put(obj)
            everything[obj.key] = obj
    kinds: tuple[type[Object], ...] = (*READ_KINDS, *SUBJECTS)
    of_kind = {kind: [obj for obj in everything.values() if isinstance(obj, kind)] for kind in kinds}
    for kind in SUBJECTS:
        for subject in of_kind[kind]:
            for read in reads(kind):
                one = Controller("c", "C", kind, (read,), nothing)
                assert relations.gather(one, subject, index, NOW) == relations.observe(one, subject, of_kind, NOW), read
        for read in reads(kind):
            for obj in of_kind[read.kind]:
                woken = {s.key for s in index.subjects(read, (kind,), obj) if relations.related(read, s, obj)}
                assert woken == {s.key for s in of_kind[kind] if relations.related(read, s, obj)}, read


@given(HISTORY)
def test_a_kind_is_kept_whole_and_in_order_through_a_view(history: list[tuple[bool, Object]]) -> None:
    def names_only(obj: Object) -> Object:
        return Pod(metadata=ObjectMeta(name=obj.metadata.name, namespace=obj.metadata.namespace))

    index, read = Index(), Read(Pod, Relation.ALL, view=names_only)
    for goes, obj in history:
        if goes:
            index.remove(obj.key)
        else:
            index.put(obj)
        there = sorted(index.all(Pod), key=lambda pod: pod.key)
        assert index.everything(read) == tuple(names_only(pod) for pod in there)
