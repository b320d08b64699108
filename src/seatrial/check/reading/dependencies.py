"""Who needs whom: edges from pods to what they talk to, inferred from the text of manifests, each with its evidence.

What is read: commands and arguments (wait loops, probes), probes' hosts, environment values (also from ConfigMaps and
Secrets of the input), and the text of mounted ConfigMaps. `Means` says how strong an edge is: a pod that `WAITS` goes
no further without the target; one that `CHECKS` it in a probe is not ready, or is restarted, without it; one that
`USES` it names it, and what it does without it nobody can tell from files.

Rules: a name counts only where it stands as a name (in a URL, with a port, as the operand of a program, as the value of
a variable that is called like an address), and a use counts only if it leads to something in the input; the own pod
(localhost) is nobody else. Wrong guesses are worse than missing ones: a call whose failure is swallowed is a use at
most.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from seatrial.check.reading import commands
from seatrial.check.reading.templates import Template, behind, templates
from seatrial.check.system import Entry, Path, System
from seatrial.control.names import DOMAIN
from seatrial.kube import selectors
from seatrial.kube.objects import ConfigMap, Container, Probe, Secret, Service, StatefulSet

LONGEST_TEXT: Final = 200_000
"""Of a ConfigMap's or a variable's text, what is read."""
MOST_USES: Final = 5_000
"""Of one system: text that names more is no configuration."""
API: Final = ("default", "kubernetes")
"""The Service that every cluster has."""

_LABEL: Final = r"[A-Za-z0-9](?:[A-Za-z0-9_-]*[A-Za-z0-9])?"
_HOST: Final = rf"{_LABEL}(?:\.{_LABEL}|\.\{{own-namespace\}})*\.?"
_URL: Final = re.compile(rf"[a-zA-Z][a-zA-Z0-9+]*://(?:[^\s/@'\"]*@)?((?:{_HOST}(?::\d+)?,?)+)")
_WITH_PORT: Final = re.compile(rf"(?<![\w./@:-])({_HOST}):(\d{{2,5}})(?![\w.])")
_QUALIFIED: Final = re.compile(rf"(?<![\w./@-])({_LABEL}(?:\.{_LABEL})+)(?![\w-])")
_SETTING: Final = re.compile(
    rf"(?im)[\"']?[\w.-]*(?:host|hostname|server|addr|address|upstream)[\"']?\s*[:=]\s*[\"']?({_HOST})[\"']?\s*(?:[,;}}#]|$)"
)
_WHOLE: Final = re.compile(rf"({_HOST})(?::(\d+))?")
_ADDRESS_NAME: Final = re.compile(
    r"HOST|ADDR|URL|URI|SERVER|ENDPOINT|BROKER|PEER|UPSTREAM|BACKEND|SERVICE|DATABASE|SEEDS|NODES|DSN|STORE",
    re.IGNORECASE,
)
_LOCAL: Final = frozenset(("localhost", "localhost.localdomain", "ip6-localhost", "hostname"))
_IP: Final = re.compile(r"\d+\.\d+\.\d+\.\d+")

RESOLVERS: Final = frozenset(("nslookup", "dig", "host", "getent", "drill"))
"""Programs that ask DNS and nothing else."""
_OPERAND: Final = frozenset((*RESOLVERS, "nc", "ncat", "netcat", "telnet", "ping"))
"""Programs whose first word without a dash is a host."""
_CLIENTS: Final = frozenset(
    (
        "amqp-publish", "clickhouse-client", "cqlsh", "curl", "dockerize", "etcdctl", "grpc_health_probe", "grpcurl",
        "http", "kafka-broker-api-versions", "kafka-broker-api-versions.sh", "kafka-topics", "kafka-topics.sh",
        "ldapsearch", "mariadb", "mariadb-admin", "mongo", "mongosh", "mysql", "mysqladmin", "nats", "pg_isready",
        "psql", "rabbitmq-diagnostics", "redis-cli", "wait-for", "wait-for-it", "wait-for-it.sh", "wait-for.sh",
        "wait-port", "wait4x", "wget",
    )
)  # fmt: skip
_WAITERS: Final = frozenset(
    ("dockerize", "wait-for", "wait-for-it", "wait-for-it.sh", "wait-for.sh", "wait-port", "wait4x")
)
"""Programs that try until they succeed."""
_HOST_FLAGS: Final = frozenset(("-h", "--host", "--hostname", "-H", "--bootstrap-server", "--server", "--endpoints"))
_KINDS: Final = {
    "deployment": "Deployment", "deployments": "Deployment", "deploy": "Deployment",
    "statefulset": "StatefulSet", "statefulsets": "StatefulSet", "sts": "StatefulSet",
    "daemonset": "DaemonSet", "daemonsets": "DaemonSet", "ds": "DaemonSet",
    "job": "Job", "jobs": "Job", "service": "Service", "svc": "Service", "pod": "Pod", "pods": "Pod",
}  # fmt: skip


class Means(Enum):
    WAITS = "waits for"
    CHECKS = "checks"
    USES = "uses"


class Need(Enum):
    """What of the target is asked for."""

    NAME = "its name resolves"
    CONNECTION = "it takes connections"
    DONE = "it has come up, or has completed"


@dataclass(frozen=True, slots=True)
class Target:
    """What a name leads to. `entry` is None if the input has no such object; `host` is a pod's name within a headless
    Service; `selector` of pods that are asked for by labels.
    """

    kind: str
    namespace: str
    name: str
    entry: Entry | None = None
    port: int | None = None
    host: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True, eq=False)
class Edge:
    """`holder` and `path` say where the evidence (the words that name the target) stands.

    `container` is that of the source which is concerned, `probe` the kind of the probe that checks.
    """

    source: Template
    container: str
    means: Means
    need: Need
    target: Target
    holder: Entry
    path: Path
    evidence: str
    probe: str = ""


@dataclass(frozen=True, slots=True)
class _Value:
    text: str
    holder: Entry
    path: Path


class Names:
    """Which host names lead to what, seen from a namespace."""

    def __init__(self, system: System) -> None:
        self.services = {
            (entry.key.namespace, entry.key.name): entry
            for entry in system.of("Service")
            if isinstance(entry.typed, Service)
        }
        spaces = [entry.key.namespace for entry in system.entries] + [each.key.name for each in system.of("Namespace")]
        self.namespaces = {name for name in spaces if isinstance(name, str)}

    def find(self, host: str, namespace: str, port: int | None = None, *, must: bool = False) -> Target | None:
        """The Service (and pod behind it) that a host name means; None for what is outside.

        `must`: the name is certainly meant as a host, so a single word is a Service though the input has none.
        """
        name = host.rstrip(".").lower()
        if not name or name in _LOCAL or _IP.fullmatch(name) or name.isdigit() or "$" in name:
            return None
        labels = name.replace(commands.OWN_NAMESPACE, namespace).split(".")
        certain = must
        if ".".join(labels[-2:]) == DOMAIN:
            labels = labels[:-2]
            if not labels or labels[-1] != "svc":
                return None
        if len(labels) > 1 and labels[-1] == "svc":
            labels = labels[:-1]
            certain = True
            if len(labels) == 1:
                return None
        return self._found(labels, namespace, port, certain)

    def _found(self, labels: Sequence[str], namespace: str, port: int | None, certain: bool) -> Target | None:
        if len(labels) == 1:
            found = self.services.get((namespace, labels[0]))
            if (namespace, labels[0]) == API:
                return None
            return Target("Service", namespace, labels[0], found, port) if found is not None or certain else None
        if len(labels) == 2:
            name, other = labels
            if (other, name) == API:
                return None
            if (found := self.services.get((other, name))) is not None:
                return Target("Service", other, name, found, port)
            if (found := self.services.get((namespace, other))) is not None:
                return Target("Service", namespace, other, found, port, host=name)
            return Target("Service", other, name, None, port) if certain and other in self.namespaces else None
        if len(labels) == 3:
            host, name, other = labels
            found = self.services.get((other, name))
            if found is not None:
                return Target("Service", other, name, found, port, host=host)
        return None


def edges(system: System) -> tuple[Edge, ...]:
    """Every edge of the system, the strongest of equal ones, in the order of the files."""
    names = Names(system)
    pods = templates(system)
    found: dict[tuple[object, ...], Edge] = {}
    uses = 0
    for template in pods:
        for edge in _of(system, names, template, pods):
            if edge.target.entry is None and _resolves_elsewhere(template, edge):
                continue
            if edge.means is Means.USES:
                uses += 1
                if uses > MOST_USES:
                    continue
            key = (template.key, edge.container, edge.means, edge.need, edge.probe, str(edge.target), edge.target.host)
            found.setdefault((*key, edge.target.port), edge)
    return tuple(found.values())


def _resolves_elsewhere(template: Template, edge: Edge) -> bool:
    """A name that the input does not have may be one of the pod's own hosts file, or of name servers of its own."""
    spec = template.spec
    aliases = {name for alias in spec.host_aliases for name in alias.hostnames}
    own = spec.dns_policy in ("Default", "None") or (spec.dns_config is not None and spec.dns_config.searches)
    return edge.need is not Need.DONE and (bool(own) or edge.target.name in aliases)


def backers(edge_target: Target, pods: tuple[Template, ...]) -> tuple[Template, ...]:
    """The templates whose pods stand behind a target; of a pod's own name only those that can have it."""
    if edge_target.entry is None:
        return ()
    if edge_target.kind == "Service":
        found = behind(edge_target.entry, pods)
        return tuple(each for each in found if _may_be_called(each, edge_target)) if edge_target.host else found
    return tuple(each for each in pods if each.entry is edge_target.entry)


def _may_be_called(template: Template, target: Target) -> bool:
    typed, name = template.entry.typed, template.key.name
    if isinstance(typed, StatefulSet):
        ordinal = target.host.removeprefix(f"{name}-")
        first = typed.spec.ordinals.start if typed.spec.ordinals is not None else 0
        count = 1 if typed.spec.replicas is None else typed.spec.replicas
        return ordinal.isdigit() and ordinal != target.host and first <= int(ordinal[:9]) < first + count
    return target.host in (template.spec.hostname, name)


def environment(system: System, template: Template, where: Path, container: Container) -> Mapping[str, _Value]:
    """The container's variables as far as the input says what they are."""
    found: dict[str, _Value] = {}
    for source in container.env_from:
        for kind, reference in (("ConfigMap", source.config_map_ref), ("Secret", source.secret_ref)):
            if reference is not None and (entry := system.get(kind, template.namespace, reference.name)) is not None:
                for key, text, there in _data(entry):
                    found[source.prefix + key] = _Value(text, entry, there)
    for position, variable in enumerate(container.env):
        path: Path = (*where, "env", position, "value")
        if variable.value:
            text = _substituted(variable.value, found)
            found[variable.name] = _Value(text, template.entry, path)
        elif variable.value_from is not None:
            source_ref = variable.value_from
            for kind, key_ref in (("ConfigMap", source_ref.config_map_key_ref), ("Secret", source_ref.secret_key_ref)):
                if key_ref is None or (entry := system.get(kind, template.namespace, key_ref.name)) is None:
                    continue
                for key, text, there in _data(entry):
                    if key == key_ref.key:
                        found[variable.name] = _Value(text, entry, there)
    return found


def _substituted(text: str, known: Mapping[str, _Value]) -> str:
    return re.sub(r"\$\((\w+)\)", lambda m: known[m[1]].text if m[1] in known else m[0], text[:LONGEST_TEXT])


def _data(entry: Entry) -> Iterator[tuple[str, str, Path]]:
    typed = entry.typed
    if isinstance(typed, ConfigMap):
        for key, text in typed.data.items():
            yield key, text[:LONGEST_TEXT], ("data", key)
    elif isinstance(typed, Secret):
        written = entry.written.get("stringData")
        for key, text in written.items() if isinstance(written, dict) else ():
            if isinstance(text, str):
                yield key, text[:LONGEST_TEXT], ("stringData", key)


def _of(system: System, names: Names, template: Template, pods: tuple[Template, ...]) -> Iterator[Edge]:
    mounted: dict[str, list[Entry]] = {}
    for volume in template.spec.volumes:
        sources = [volume.config_map] if volume.config_map is not None else []
        if volume.projected is not None:
            sources += [each.config_map for each in volume.projected.sources if each.config_map is not None]  # type: ignore[misc]
        for source in sources:
            if (entry := system.get("ConfigMap", template.namespace, source.name)) is not None:
                mounted.setdefault(volume.name, []).append(entry)
    for where, container, ends in template.containers():
        variables = environment(system, template, where, container)
        values = {name: value.text for name, value in variables.items()}
        yield from _of_commands(names, template, where, container, values, ends, pods)
        for kind, field, probe in (
            ("startup", "startupProbe", container.startup_probe),
            ("readiness", "readinessProbe", container.readiness_probe),
            ("liveness", "livenessProbe", container.liveness_probe),
        ):
            if probe is not None:
                yield from _of_probe(names, template, container, (*where, field), kind, probe, values)
        for name, value in variables.items():
            for target, evidence in _in_text(names, template.namespace, value.text, name):
                yield Edge(
                    template, container.name, Means.USES, Need.CONNECTION, target, value.holder, value.path, evidence
                )
        for mount in container.volume_mounts:
            for entry in mounted.get(mount.name, ()):
                for _key, text, path in _data(entry):
                    for target, evidence in _in_text(names, template.namespace, text):
                        yield Edge(template, container.name, Means.USES, Need.CONNECTION, target, entry, path, evidence)


def _of_commands(
    names: Names,
    template: Template,
    where: Path,
    container: Container,
    values: Mapping[str, str],
    ends: bool,
    pods: tuple[Template, ...],
) -> Iterator[Edge]:
    argv = (*container.command, *container.args)

    def place(argument: int) -> Path:
        split = len(container.command)
        return (*where, "command", argument) if argument < split else (*where, "args", argument - split)

    for call in commands.calls(argv, values):
        waits = call.waits or call.program in _WAITERS or (ends and call.decides)
        means = Means.WAITS if waits else Means.USES
        for target, need, evidence in _asked_for(names, template.namespace, call, pods, must=waits):
            yield Edge(template, container.name, means, need, target, template.entry, place(call.argument), evidence)
    image = container.image.rpartition("/")[2].partition(":")[0]
    if ends and image in ("k8s-wait-for", "wait-for") and len(argv) > 1:
        call = commands.Call("kubectl", ("wait", *argv), 0)
        for target, need, evidence in _asked_for(names, template.namespace, call, pods, must=True):
            yield Edge(template, container.name, Means.WAITS, need, target, template.entry, place(0), evidence)
    for position, text in enumerate(argv):
        for target, evidence in _in_text(names, template.namespace, text):
            yield Edge(
                template,
                container.name,
                Means.USES,
                Need.CONNECTION,
                target,
                template.entry,
                place(position),
                evidence,
            )


def _of_probe(
    names: Names,
    template: Template,
    container: Container,
    where: Path,
    kind: str,
    probe: Probe,
    values: Mapping[str, str],
) -> Iterator[Edge]:
    def edge(target: Target, need: Need, path: Path, evidence: str) -> Edge:
        return Edge(
            template, container.name, Means.CHECKS, need, target, template.entry, (*where, *path), evidence, kind
        )

    for field, action in (("httpGet", probe.http_get), ("tcpSocket", probe.tcp_socket)):
        if action is not None and action.host:
            port = action.port if isinstance(action.port, int) else None
            target = names.find(action.host, template.namespace, port)
            if target is not None:
                yield edge(target, Need.CONNECTION, (field, "host"), action.host)
    if probe.exec is not None:
        for call in commands.calls(probe.exec.command, values):
            if call.decides or call.waits:
                for target, need, evidence in _asked_for(names, template.namespace, call, (), must=False):
                    yield edge(target, need, ("exec", "command", call.argument), evidence)


def _asked_for(
    names: Names, namespace: str, call: commands.Call, pods: tuple[Template, ...], *, must: bool
) -> Iterator[tuple[Target, Need, str]]:
    """What a call asks for: targets with what is needed of them, and the word that names each."""
    if call.program == "kubectl":
        yield from _by_kubectl(namespace, call, names, pods)
        return
    need = Need.NAME if call.program in RESOLVERS else Need.CONNECTION
    for word in (call.program, *call.words):
        if (found := re.search(r"/dev/tcp/([^/\s]+)/(\d+)", word)) is not None:
            target = names.find(found[1], namespace, int(found[2]), must=must)
            if target is not None:
                yield target, Need.CONNECTION, f"{found[1]}:{found[2]}"
    if call.program not in _OPERAND and call.program not in _CLIENTS:
        return
    operands: list[str] = []
    flag = ""
    for word in call.words:
        if flag in _HOST_FLAGS or any(word.startswith(f"{each}=") for each in _HOST_FLAGS if each.startswith("--")):
            text = word.rpartition("=")[2] if flag not in _HOST_FLAGS else word
            yield from _hosts(names, namespace, text, need, must)
            flag = ""
            continue
        flag = word if word.startswith("-") else ""
        if flag:
            continue
        if _URL.search(word) or _WITH_PORT.fullmatch(word):
            yield from _hosts(names, namespace, word, need, must)
        else:
            operands.append(word)
    if call.program == "getent":
        operands = operands[1:] if operands[:1] in (["hosts"], ["ahosts"], ["ahostsv4"]) else []
    if call.program in _OPERAND and operands:
        # Words that belong to a flag (`nc -w 2 db 5432`) are numbers; a host is not.
        host = next((each for each in operands if not each.replace(".", "").isdigit() and "=" not in each), None)
        if host is not None:
            after = operands[operands.index(host) + 1 :]
            port = int(after[0]) if after and after[0].isdigit() and need is Need.CONNECTION else None
            target = names.find(host, namespace, port, must=must)
            if target is not None:
                yield target, need, host if port is None else f"{host} {port}"
    elif call.program in ("curl", "wget"):
        for word in operands:
            found = _WHOLE.match(word)
            if found is not None and found.end() in (len(word), word.find("/")):
                target = names.find(found[1], namespace, int(found[2] or 80))
                if target is not None:
                    yield target, need, word


def _hosts(names: Names, namespace: str, text: str, need: Need, must: bool) -> Iterator[tuple[Target, Need, str]]:
    url = _URL.search(text)
    https = text.startswith("https:")
    for part in (url[1] if url is not None else text).split(","):
        found = _WHOLE.fullmatch(part)
        if found is None:
            continue
        port = int(found[2]) if found[2] else 443 if https else 80 if text.startswith("http:") else None
        target = names.find(found[1], namespace, port if need is Need.CONNECTION else None, must=must)
        if target is not None:
            yield target, need, part


def _by_kubectl(
    namespace: str, call: commands.Call, names: Names, pods: tuple[Template, ...]
) -> Iterator[tuple[Target, Need, str]]:
    """`kubectl wait ... KIND/NAME`, `kubectl rollout status KIND/NAME`, `kubectl wait pod -l SELECTOR`."""
    words = [word for word in call.words if word not in ("rollout",)]
    if not words or words[0] not in ("wait", "status"):
        return
    kind, name, labels, flag = "", "", "", ""
    for word in words[1:]:
        if flag in ("-n", "--namespace"):
            namespace, flag = word, ""
        elif flag in ("-l", "--selector"):
            labels, flag = word, ""
        elif word.startswith("-l") and len(word) > 2:
            labels = word[2:].lstrip("=")
        elif word.startswith("--selector="):
            labels = word.partition("=")[2]
        elif word.startswith(("-n=", "--namespace=")):
            namespace = word.partition("=")[2]
        elif word.startswith("-"):
            flag = word if word in ("-n", "--namespace", "-l", "--selector") else ""
        elif "/" in word:
            kind, _, name = word.partition("/")
        elif not kind:
            kind = word
        elif not name:
            name = word
    kind = _KINDS.get(kind.partition(".")[0].lower(), "")
    if kind == "Service" and name:
        entry = names.services.get((namespace, name))
        yield Target("Service", namespace, name, entry), Need.DONE, name
    elif kind == "Pod" and labels:
        try:
            selector = selectors.parse(labels)
        except ValueError:
            return
        for each in pods:
            if each.namespace == namespace and selector.matches(each.labels):
                yield Target(each.key.kind, namespace, each.key.name, each.entry), Need.DONE, f"-l {labels}"
    elif kind and name:
        entry_of = next(
            (e.entry for e in pods if (e.key.kind, e.namespace, e.key.name) == (kind, namespace, name)), None
        )
        yield Target(kind, namespace, name, entry_of), Need.DONE, f"{kind}/{name}"


def _in_text(names: Names, namespace: str, text: str, variable: str = "") -> Iterator[tuple[Target, str]]:
    """What a text names, as far as the input has it. `variable` is the name of the variable whose value it is."""
    text = text[:LONGEST_TEXT]
    seen: set[str] = set()

    def known(host: str, port: str | None, evidence: str) -> Iterator[tuple[Target, str]]:
        target = names.find(host, namespace, int(port) if port else None)
        if target is not None and target.entry is not None and evidence not in seen:
            seen.add(evidence)
            yield target, evidence

    for found in _URL.finditer(text):
        for part in found[1].split(","):
            whole = _WHOLE.fullmatch(part)
            if whole is not None:
                yield from known(whole[1], whole[2], part)
    for found in _WITH_PORT.finditer(text):
        yield from known(found[1], found[2], found[0])
    for found in _QUALIFIED.finditer(text):
        if found[1] not in seen and not any(each.startswith(found[1]) for each in seen):
            yield from known(found[1], None, found[1])
    if variable:
        if _ADDRESS_NAME.search(variable):
            for part in re.split(r"[,\s]+", text[:2_000]):
                if _WHOLE.fullmatch(part) and not any(each.startswith(part) for each in seen):
                    yield from known(part.partition(":")[0], None, part)
    else:
        for found in _SETTING.finditer(text):
            if not any(each.startswith(found[1]) for each in seen):
                yield from known(found[1], None, found[1])
