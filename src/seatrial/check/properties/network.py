"""`network/reaches`: what pods connect to, as far as their files say, lets them through.

Asked of every connection that `dependencies` reads from commands, probes, variables and configuration: does the
Service have the port, do the NetworkPolicies let the pods out and in, and can the name be looked up at all. Further, of
the pods themselves: two containers that want one port, and Services whose traffic stays on the node
(`internalTrafficPolicy: Local`) without a pod on every node. What a policy means is decided in `control/policies`; an
answer that depends on what no file says (an address, a label of a namespace) refutes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from seatrial.check.properties import Property, Question
from seatrial.check.reading import dependencies
from seatrial.check.reading.templates import Template, templates
from seatrial.check.reading.templates import behind as pods_behind
from seatrial.check.system import Entry, Path, Place
from seatrial.check.verdicts import Answer, Verdict
from seatrial.control import policies
from seatrial.control.policies import Party, Passage
from seatrial.kube.objects import DaemonSet, Key, Namespace, NetworkPolicy, Service

NAME = "network/reaches"
PROPERTIES = (
    Property(
        name=NAME,
        asks="do pods reach the Services that their files name, and the DNS that tells where these are?",
        formally=(
            "for every pod p and Service s:n that p's files name, and every pod q behind s: s has the port n,"
            " egress(p, q) and ingress(q, p) allow n, and egress(p, DNS) allows 53/UDP; no two containers of a pod"
            " declare one port; where internalTrafficPolicy is Local every node has a pod of s"
        ),
        premise="the system has pods",
        sometimes="some pod names a Service of the input, or the input has a Service or a pod",
    ),
)
ASSUMPTIONS: Mapping[str, str] = {
    "network/enforced": "the network enforces NetworkPolicies",
    "network/named": "pods connect to what their files name; of other connections nothing is said",
    "network/dns": "DNS is kube-system's pods with k8s-app=kube-dns, unless the input has it",
}
DNS = Party(
    namespace="kube-system",
    labels={"k8s-app": "kube-dns"},
    namespace_labels={"kubernetes.io/metadata.name": "kube-system"},
    all_labels=False,
    ports={"dns": (53, "UDP"), "dns-tcp": (53, "TCP")},
)


@dataclass(slots=True)
class _Looked:
    """What was found, and how much was looked at."""

    verdicts: list[Verdict] = field(default_factory=list)
    connections: int = 0

    def refute(self, entry: Entry, message: str, places: Iterable[Place]) -> None:
        self.verdicts.append(
            Verdict(
                property=NAME,
                subject=str(entry.key),
                verdict=Answer.REFUTED,
                message=message,
                places=tuple(dict.fromkeys(places)),
                method="policies",
                assumptions=tuple(ASSUMPTIONS),
            )
        )


def check(question: Question, _wanted: frozenset[str]) -> list[Verdict]:
    system = question.system
    pods = templates(system)
    if not pods:
        return []
    looked = _Looked()
    for template in pods:
        _same_port(looked, template)
    _local_only(looked, question, pods)
    _connections(looked, question, pods)
    if looked.verdicts:
        return looked.verdicts
    count = looked.connections
    told = "the files name no connection that could be cut"
    if count:
        plural = count != 1
        told = f"{count} connection{'s' if plural else ''} that the files name {'are' if plural else 'is'} let through"
    return [
        Verdict(
            property=NAME,
            subject="system",
            verdict=Answer.PROVED,
            message=f"{told}, and no two containers of a pod want one port",
            method="policies",
            assumptions=tuple(ASSUMPTIONS),
        )
    ]


def _same_port(looked: _Looked, template: Template) -> None:
    """Containers of one pod share its network: the second that listens on a port fails."""
    taken: dict[tuple[int, str], tuple[str, Path]] = {}
    for at, container, ends in template.containers():
        if ends:
            continue
        for index, port in enumerate(container.ports):
            key = (port.container_port, port.protocol or "TCP")
            place: Path = (*at, "ports", index, "containerPort")
            first = taken.setdefault(key, (container.name, place))
            if first[0] != container.name:
                message = (
                    f"container {container.name!r} crashes (address already in use): it and {first[0]!r} listen on port"
                    f" {key[0]}/{key[1]} of the one address that a pod has"
                )
                looked.refute(template.entry, message, (template.entry.place(*place), template.entry.place(*first[1])))


def _local_only(looked: _Looked, question: Question, pods: tuple[Template, ...]) -> None:
    for entry in question.system.of("Service"):
        service = entry.typed
        if not isinstance(service, Service) or service.spec.internal_traffic_policy != "Local":
            continue
        behind = pods_behind(entry, pods)
        if not behind or (len(question.nodes) == 1 and question.system.of("Node")):
            continue
        from seatrial.check import machines  # with the scheduler, which most files need no answer of

        everywhere = any(
            isinstance(each.entry.typed, DaemonSet)
            and len(machines.daemons_of(each.entry.typed, question.nodes)) == len(question.nodes)
            for each in behind
        )
        if everywhere:
            continue
        owner = behind[0].entry
        message = (
            f"connections from nodes without a pod of {owner.key} are dropped: internalTrafficPolicy is Local, and"
            " nothing puts one of its pods on every node"
        )
        looked.refute(entry, message, (entry.place("spec", "internalTrafficPolicy"), owner.place("kind")))


def _connections(looked: _Looked, question: Question, pods: tuple[Template, ...]) -> None:
    system = question.system
    known = system.all(NetworkPolicy)
    entries = {(entry.key.namespace, entry.key.name): entry for entry in system.of("NetworkPolicy")}
    parties = {template.key: _party(question, template) for template in pods}
    resolvers = [_party(question, each) for each in pods if _is_dns(each)] or [DNS]
    asked: set[tuple[object, ...]] = set()
    without_dns: set[object] = set()
    for edge in dependencies.edges(system):
        target = edge.target.entry
        service = target.typed if target is not None else None
        if target is None or not isinstance(service, Service) or edge.source.key not in parties:
            continue
        key = (edge.source.key, target.key, edge.target.port)
        if key in asked:
            continue
        asked.add(key)
        looked.connections += 1
        source = parties[edge.source.key]
        evidence = edge.holder.place(*edge.path)
        if edge.source.key in without_dns:
            continue
        if _no_dns(looked, edge.source, source, known, entries, resolvers, evidence, str(target.key)):
            without_dns.add(edge.source.key)
            continue
        if edge.need is dependencies.Need.NAME or service.spec.type == "ExternalName":
            continue
        behind = dependencies.backers(edge.target, pods)
        ports = _ports(service, edge.target.port)
        if not ports:
            has = ", ".join(str(port.port) for port in service.spec.ports) or "none"
            message = (
                f"connections to {edge.evidence} time out: {target.key} has no port {edge.target.port} (it has {has})"
            )
            looked.refute(edge.source.entry, message, (evidence, target.place("spec", "ports")))
            continue
        _through(looked, edge.source, source, target, behind, parties, ports, known, entries, evidence)


def _through(
    looked: _Looked,
    template: Template,
    source: Party,
    service: Entry,
    behind: Sequence[Template],
    parties: Mapping[Key, Party],
    ports: Sequence[tuple[int | str, str]],
    known: Sequence[NetworkPolicy],
    entries: Mapping[tuple[str, str], Entry],
    evidence: Place,
) -> None:
    """Refutes a connection that no pod behind the Service takes, on any of its ports."""
    if not behind:
        return
    refused: list[Passage] = []
    for each in behind:
        party = parties[each.key]
        for port, protocol in ports:
            number, _ = party.ports.get(str(port), (port, protocol))
            if not isinstance(number, int):
                continue  # a named port that the pod does not have: `references/exist` says so
            cut = [p for p in policies.passages(known, source, party, number, protocol) if p.allowed is False]
            if not cut:
                return
            refused += cut
    if not refused:
        return
    first = refused[0]
    holding = [entries[policy.metadata.namespace, policy.metadata.name] for policy in first.policies]
    names = ", ".join(entry.key.name for entry in holding)
    listed = ", ".join(dict.fromkeys(str(port) for port, _ in ports))
    if first.direction == policies.EGRESS:
        how = f"no rule of NetworkPolicy {names}, which holds for its pods, lets them out to port {listed} of these"
    else:
        how = (
            f"no rule of NetworkPolicy {names}, which holds for the pods behind it, lets these pods in to port {listed}"
        )
    message = f"{template.key} does not reach {service.key}: {how}"
    looked.refute(template.entry, message, (evidence, *(_rules(entry, first.direction) for entry in holding)))


def _no_dns(
    looked: _Looked,
    template: Template,
    source: Party,
    known: Sequence[NetworkPolicy],
    entries: Mapping[tuple[str, str], Entry],
    resolvers: Sequence[Party],
    evidence: Place,
    wanted: str,
) -> bool:
    """Whether a pod that looks names up cannot."""
    if template.spec.dns_policy in ("None", "Default"):
        return False
    cut = []
    for resolver in resolvers:
        out, into = policies.passages(known, source, resolver, 53, "UDP")
        if out.allowed is not False and into.allowed is not False:
            return False
        cut.append(out if out.allowed is False else into)
    first = cut[0]
    holding = [entries[policy.metadata.namespace, policy.metadata.name] for policy in first.policies]
    names = ", ".join(entry.key.name for entry in holding)
    message = (
        f"{template.key} cannot look up any name, {wanted} among them: no rule of NetworkPolicy {names} lets its pods"
        " reach the cluster's DNS (kube-system, port 53/UDP)"
    )
    looked.refute(template.entry, message, (*(_rules(entry, first.direction) for entry in holding), evidence))
    return True


def _rules(policy: Entry, direction: str) -> Place:
    return policy.place("spec", direction.lower())


def _ports(service: Service, port: int | None) -> list[tuple[int | str, str]]:
    """The ports of the pods that a connection to the Service (on one of its ports, or on any) goes to."""
    if service.spec.cluster_ip == "None" and port is not None:
        named = [each for each in service.spec.ports if port in (each.port, each.target_port)]
        return [(port, each.protocol or "TCP") for each in named] or [(port, "TCP")]
    return [
        (each.target_port if each.target_port not in (None, "", 0) else each.port, each.protocol or "TCP")
        for each in service.spec.ports
        if port is None or each.port == port
    ]


def _party(question: Question, template: Template) -> Party:
    labels, complete = _labels_of(question, template.namespace)
    ports = {
        port.name: (port.container_port, port.protocol or "TCP")
        for _, container, ends in template.containers()
        if not ends
        for port in container.ports
        if port.name
    }
    return Party(
        namespace=template.namespace,
        labels=template.labels,
        namespace_labels=labels,
        all_labels=complete,
        ports=ports,
        host_network=bool(template.spec.host_network),
    )


def _labels_of(question: Question, namespace: str) -> tuple[Mapping[str, str], bool]:
    """A namespace's labels, and whether these are all."""
    own = {"kubernetes.io/metadata.name": namespace}
    entry = question.system.get("Namespace", "", namespace)
    if entry is None or not isinstance(entry.typed, Namespace):
        return own, False
    return {**entry.typed.metadata.labels, **own}, True


def _is_dns(template: Template) -> bool:
    return template.namespace == "kube-system" and template.labels.get("k8s-app") == "kube-dns"
