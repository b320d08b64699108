"""The filters against a second implementation that is slow and dumb on purpose: it reads wire objects, rule by rule.

The oracle judges a placement after the fact: it puts the pod on the node and asks whether every rule of the
Kubernetes documentation holds, where the scheduler counts domains and pairs ahead.
"""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from seatrial.control.scheduler import explain, fits_ever, schedule
from seatrial.kube.objects import Node, Pod, parse_as

Json = dict[str, Any]


def selects(selector: Json | None, labels: Json) -> bool:
    if selector is None:
        return False
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())


def wants_node(pod: Json, node: Json) -> bool:
    labels = node["metadata"]["labels"]
    for key, value in pod["spec"].get("nodeSelector", {}).items():
        if labels.get(key) != value:
            return False
    required = pod["spec"]["affinity"].get("nodeAffinity", {}).get("requiredDuringSchedulingIgnoredDuringExecution")
    if required is None:
        return True
    for term in required["nodeSelectorTerms"]:
        if term["matchExpressions"] and all(holds(expression, labels) for expression in term["matchExpressions"]):
            return True
    return False


def holds(expression: Json, labels: Json) -> bool:
    operator, values = expression["operator"], expression["values"]
    value = labels.get(expression["key"])
    if operator in ("Gt", "Lt"):
        if value is None or not value.isdigit():
            return False
        return int(value) > int(values[0]) if operator == "Gt" else int(value) < int(values[0])
    if operator in ("In", "NotIn"):
        return (value in values) is (operator == "In")
    return (value is not None) is (operator == "Exists")


def accepts_taints(pod: Json, node: Json) -> bool:
    for taint in node["spec"]["taints"]:
        if taint["effect"] == "PreferNoSchedule":
            continue
        for toleration in pod["spec"].get("tolerations", []):
            same_key = toleration["key"] == taint["key"]
            same_effect = toleration.get("effect", taint["effect"]) == taint["effect"]
            if (
                same_key
                and same_effect
                and (toleration["operator"] == "Exists" or toleration["value"] == taint["value"])
            ):
                break
        else:
            return False
    return True


def near(one: Json, other: Json, key: str) -> bool:
    value = one["metadata"]["labels"].get(key)
    return value is not None and other["metadata"]["labels"].get(key) == value


def terms(pod: Json, section: str) -> list[Json]:
    found: list[Json] = (
        pod["spec"]["affinity"].get(section, {}).get("requiredDuringSchedulingIgnoredDuringExecution", [])
    )
    return found


def means(term: Json, holder: Json, other: Json) -> bool:
    spaces = term.get("namespaces") or [holder["metadata"]["namespace"]]
    return other["metadata"]["namespace"] in spaces and selects(term["labelSelector"], other["metadata"]["labels"])


def pods_agree(pod: Json, node: Json, placed: list[tuple[Json, Json]]) -> bool:
    for other, there in placed:
        for term in terms(pod, "podAntiAffinity"):
            if means(term, pod, other) and near(node, there, term["topologyKey"]):
                return False
        for term in terms(other, "podAntiAffinity"):
            if means(term, other, pod) and near(node, there, term["topologyKey"]):
                return False
    wanted = terms(pod, "podAffinity")
    if any(term["topologyKey"] not in node["metadata"]["labels"] for term in wanted):
        return False
    friends = [(o, at) for o, at in placed if all(means(term, pod, o) for term in wanted)]
    labelled = [at for _, at in friends if any(term["topologyKey"] in at["metadata"]["labels"] for term in wanted)]
    if wanted and not labelled:
        return all(means(term, pod, pod) for term in wanted)
    return all(any(near(node, at, term["topologyKey"]) for _, at in friends) for term in wanted)


def spreads(pod: Json, node: Json, nodes: list[Json], placed: list[tuple[Json, Json]]) -> bool:
    hard = pod["spec"]["topologySpreadConstraints"]
    keys = [constraint["topologyKey"] for constraint in hard]
    if any(key not in node["metadata"]["labels"] for key in keys):
        return False
    for constraint in hard:
        key, selector = constraint["topologyKey"], constraint["labelSelector"]
        eligible = [
            other
            for other in nodes
            if all(k in other["metadata"]["labels"] for k in keys)
            and (constraint["nodeAffinityPolicy"] == "Ignore" or wants_node(pod, other))
            and (constraint["nodeTaintsPolicy"] == "Ignore" or accepts_taints(pod, other))
        ]

        def number(value: str, eligible: list[Json] = eligible, key: str = key, selector: Json = selector) -> int:
            return sum(
                1
                for other, at in placed
                if at in eligible
                and at["metadata"]["labels"][key] == value
                and other["metadata"]["namespace"] == pod["metadata"]["namespace"]
                and selects(selector, other["metadata"]["labels"])
            )

        domains = {other["metadata"]["labels"][key] for other in eligible}
        least = min((number(value) for value in domains), default=None)
        if len(domains) < (constraint.get("minDomains") or 1):
            least = 0
        after = number(node["metadata"]["labels"][key]) + selects(selector, pod["metadata"]["labels"])
        if least is not None and after - least > constraint["maxSkew"]:
            return False
    return True


def has_room(pod: Json, node: Json, placed: list[tuple[Json, Json]]) -> bool:
    cpu = int(node["status"]["allocatable"]["cpu"])
    here = [other for other, at in placed if at is node]
    if len(here) + 1 > int(node["status"]["allocatable"]["pods"]):
        return False
    asked = peak(pod)
    return asked == 0 or asked + sum(peak(other) for other in here) <= cpu


def peak(pod: Json) -> int:
    """The most cpu that the pod holds at any moment of its start, found by walking through the moments."""

    def cpu(container: Json) -> int:
        return int(container["resources"]["requests"]["cpu"])

    running, most = 0, 0
    for container in pod["spec"]["initContainers"]:
        most = max(most, running + cpu(container))
        if container.get("restartPolicy") == "Always":
            running += cpu(container)
    return max(most, running + sum(cpu(container) for container in pod["spec"]["containers"]))


def fits(pod: Json, node: Json, nodes: list[Json], placed: list[tuple[Json, Json]]) -> bool:
    return (
        not node["spec"]["unschedulable"]
        and wants_node(pod, node)
        and accepts_taints(pod, node)
        and has_room(pod, node, placed)
        and spreads(pod, node, nodes, placed)
        and pods_agree(pod, node, placed)
    )


few = st.sampled_from
keys = few(["zone", "host"])
selector = few([{"matchLabels": {"app": "a"}}, {"matchLabels": {"app": "b"}}])
requests = st.integers(0, 4).map(lambda cpu: {"name": "c", "resources": {"requests": {"cpu": str(cpu)}}})
sidecar_or_init = st.builds(
    lambda c, always: {**c, "restartPolicy": "Always"} if always else c, requests, st.booleans()
)
taint = st.fixed_dictionaries(
    {"key": few(["t", "u"]), "value": few(["1", "2"]), "effect": few(["NoSchedule", "NoExecute", "PreferNoSchedule"])}
)
toleration = st.fixed_dictionaries(
    {"key": few(["t", "u"]), "value": few(["1", "2"]), "operator": few(["Equal", "Exists"])},
    optional={"effect": few(["NoSchedule", "NoExecute"])},
)
expression = st.one_of(
    st.fixed_dictionaries({"key": keys, "operator": few(["In", "NotIn"]), "values": few([["1"], ["1", "2"]])}),
    st.fixed_dictionaries({"key": keys, "operator": few(["Exists", "DoesNotExist"]), "values": st.just([])}),
    st.fixed_dictionaries({"key": few(["zone"]), "operator": few(["Gt", "Lt"]), "values": few([["1"], ["2"]])}),
)
node_affinity = st.fixed_dictionaries(
    {
        "requiredDuringSchedulingIgnoredDuringExecution": st.fixed_dictionaries(
            {
                "nodeSelectorTerms": st.lists(
                    st.fixed_dictionaries({"matchExpressions": st.lists(expression, max_size=2)}),
                    min_size=1,
                    max_size=2,
                )
            }
        )
    }
)
pod_terms = st.fixed_dictionaries(
    {
        "requiredDuringSchedulingIgnoredDuringExecution": st.lists(
            st.fixed_dictionaries(
                {"labelSelector": selector, "topologyKey": keys}, optional={"namespaces": few([["x"], ["x", "y"]])}
            ),
            min_size=1,
            max_size=2,
        )
    }
)
constraint = st.fixed_dictionaries(
    {
        "maxSkew": st.integers(1, 2),
        "topologyKey": keys,
        "whenUnsatisfiable": st.just("DoNotSchedule"),
        "labelSelector": selector,
        "nodeAffinityPolicy": few(["Honor", "Ignore"]),
        "nodeTaintsPolicy": few(["Honor", "Ignore"]),
    },
    optional={"minDomains": st.integers(1, 4)},
)


@st.composite
def node_lists(draw: st.DrawFn) -> list[Json]:
    return [
        {
            "metadata": {
                "name": f"n{index}",
                "labels": {"host": f"n{index}"} | draw(few([{}, {"zone": "1"}, {"zone": "2"}, {"zone": "3"}])),
            },
            "spec": {"taints": draw(st.lists(taint, max_size=1)), "unschedulable": draw(few([False] * 5 + [True]))},
            "status": {"allocatable": {"cpu": draw(few(["4", "9"])), "pods": draw(few(["2", "9"]))}},
        }
        for index in range(draw(st.integers(1, 4)))
    ]


@st.composite
def pods(draw: st.DrawFn, name: str) -> Json:
    spec: Json = {
        "containers": draw(st.lists(requests, min_size=1, max_size=2)),
        "initContainers": draw(st.lists(sidecar_or_init, max_size=2)),
        "tolerations": draw(st.lists(toleration, max_size=2)),
        "affinity": draw(
            st.fixed_dictionaries(
                {}, optional={"nodeAffinity": node_affinity, "podAffinity": pod_terms, "podAntiAffinity": pod_terms}
            )
        ),
        "topologySpreadConstraints": draw(st.lists(constraint, max_size=2)),
        "nodeSelector": draw(few([{}, {}, {"zone": "1"}])),
    }
    labels = draw(few([{"app": "a"}, {"app": "b"}, {}]))
    return {"metadata": {"name": name, "namespace": draw(few(["x", "y"])), "labels": labels}, "spec": spec}


@settings(max_examples=300, deadline=None)
@given(data=st.data(), nodes=node_lists())
def test_the_same_nodes_are_feasible_as_by_the_oracle(data: st.DataObject, nodes: list[Json]) -> None:
    pod = data.draw(pods("new"), label="pod")
    placed = []
    for index in range(data.draw(st.integers(0, 4))):
        other = data.draw(pods(f"old{index}"))
        at = data.draw(few(nodes))
        other["spec"]["nodeName"] = at["metadata"]["name"]
        placed.append((other, at))
    expected = tuple(node["metadata"]["name"] for node in nodes if fits(pod, node, nodes, placed))

    typed, machines = parse_as(Pod, pod), [parse_as(Node, node) for node in nodes]
    others = [parse_as(Pod, other) for other, _ in placed]
    placement = schedule(typed, machines, others)
    assert placement.feasible == expected
    assert bool(placement.message) is not bool(expected)
    assert set(placement.best) <= set(expected)
    assert bool(placement.best) is bool(expected)
    refused = {name for name, obstacles in explain(typed, machines, others).items() if obstacles}
    assert refused == {node.metadata.name for node in machines} - set(expected)
    assert set(expected) <= set(fits_ever(typed, machines).nodes)
