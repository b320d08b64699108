"""NetworkPolicies, sentence by sentence of the API's documentation (networking.k8s.io/v1)."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seatrial.control import policies
from seatrial.control.policies import Party
from seatrial.kube.objects import NetworkPolicy, parse_as

WEB = Party("shop", {"app": "web"}, {"team": "shop"}, ports={"http": (8080, "TCP")})
STORE = Party("shop", {"app": "store"}, {"team": "shop"}, ports={"redis": (6379, "TCP")})
OTHER = Party("yard", {"app": "web"}, {"team": "yard"})
UNKNOWN = Party("sea", {"app": "web"}, {"kubernetes.io/metadata.name": "sea"}, all_labels=False)
OUTSIDE = Party(ip="192.0.2.7")


def policy(namespace: str = "shop", **spec: Any) -> NetworkPolicy:
    spec.setdefault("podSelector", {})
    return parse_as(NetworkPolicy, {"metadata": {"name": "p", "namespace": namespace}, "spec": spec})


def goes(known: list[NetworkPolicy], source: Party, target: Party, port: int = 6379, protocol: str = "TCP") -> Any:
    out, into = policies.passages(known, source, target, port, protocol)
    return False if False in (out.allowed, into.allowed) else out.allowed and into.allowed


def test_a_pod_that_no_policy_selects_is_open() -> None:
    assert goes([policy(podSelector={"matchLabels": {"app": "nobody"}}), policy("yard")], WEB, STORE)


def test_a_selected_pod_is_closed_but_for_what_a_rule_allows() -> None:
    assert not goes([policy()], OTHER, STORE)
    assert goes([policy(ingress=[{}])], OTHER, STORE)


def test_without_types_a_policy_is_about_egress_only_if_it_has_rules_for_it() -> None:
    assert goes([policy("yard")], OTHER, STORE)
    assert not goes([policy("yard", egress=[{"ports": [{"port": 53}]}])], OTHER, STORE)
    assert not goes([policy("yard", policyTypes=["Egress"])], OTHER, STORE)


def test_policies_add_up() -> None:
    closed, opened = policy(), policy(ingress=[{"from": [{"podSelector": {"matchLabels": {"app": "web"}}}]}])
    assert goes([closed, opened], WEB, STORE)


def test_a_pod_selector_alone_is_about_the_policy_s_own_namespace() -> None:
    rule = {"from": [{"podSelector": {"matchLabels": {"app": "web"}}}]}
    assert goes([policy(ingress=[rule])], WEB, STORE)
    assert not goes([policy(ingress=[rule])], OTHER, STORE)


def test_namespace_and_pod_selector_of_one_peer_must_both_hold_and_two_peers_either() -> None:
    yard, store = (
        {"namespaceSelector": {"matchLabels": {"team": "yard"}}},
        {"podSelector": {"matchLabels": {"app": "x"}}},
    )
    assert goes([policy(ingress=[{"from": [yard]}])], OTHER, STORE)
    assert not goes([policy(ingress=[{"from": [{**yard, **store}]}])], OTHER, STORE)
    assert goes([policy(ingress=[{"from": [yard, store]}])], OTHER, STORE)


def test_a_label_of_a_namespace_that_nobody_knows_is_no_answer() -> None:
    asked = [policy(ingress=[{"from": [{"namespaceSelector": {"matchLabels": {"team": "sea"}}}]}])]
    assert goes(asked, UNKNOWN, STORE) is None
    assert goes(asked, OTHER, STORE) is False
    by_name = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "sea"}}}
    assert goes([policy(ingress=[{"from": [by_name]}])], UNKNOWN, STORE) is True


@pytest.mark.parametrize(
    ("block", "source", "answer"),
    [
        ({"cidr": "192.0.2.0/24"}, OUTSIDE, True),
        ({"cidr": "192.0.2.0/24", "except": ["192.0.2.0/29"]}, OUTSIDE, False),
        ({"cidr": "198.51.100.0/24"}, OUTSIDE, False),
        ({"cidr": "10.0.0.0/8"}, WEB, None),
        ({"cidr": "0.0.0.0/0"}, WEB, True),
        ({"cidr": "nonsense"}, WEB, None),
    ],
)
def test_blocks_of_addresses(block: dict[str, Any], source: Party, answer: bool | None) -> None:
    assert goes([policy(ingress=[{"from": [{"ipBlock": block}]}])], source, STORE) is answer


@pytest.mark.parametrize(
    ("rule", "port", "protocol", "answer"),
    [
        ({"port": 6379}, 6379, "TCP", True),
        ({"port": 6379}, 6380, "TCP", False),
        ({"port": 6379}, 6379, "UDP", False),
        ({"port": 6000, "endPort": 7000}, 6379, "TCP", True),
        ({"port": 6000, "endPort": 6378}, 6379, "TCP", False),
        ({"port": "redis"}, 6379, "TCP", True),
        ({"port": "http"}, 6379, "TCP", False),
        ({"protocol": "UDP"}, 53, "UDP", True),
        ({"protocol": "UDP"}, 53, "TCP", False),
    ],
)
def test_ports(rule: dict[str, Any], port: int, protocol: str, answer: bool) -> None:
    assert goes([policy(ingress=[{"ports": [rule]}])], WEB, STORE, port, protocol) is answer


def test_a_named_port_of_an_egress_rule_is_the_target_s() -> None:
    rule = {"ports": [{"port": "redis"}]}
    assert goes(
        [policy(podSelector={"matchLabels": {"app": "web"}}, policyTypes=["Egress"], egress=[rule])], WEB, STORE
    )


def test_pods_in_the_host_s_network_are_restricted_by_nothing() -> None:
    host = Party("shop", {"app": "web"}, host_network=True)
    assert goes([policy(policyTypes=["Egress"])], host, STORE)


LABELS = st.fixed_dictionaries({}, optional={"a": st.sampled_from("xy"), "b": st.sampled_from("xy")})
SELECTORS = LABELS.map(lambda labels: {"matchLabels": labels})
PEERS = st.fixed_dictionaries({}, optional={"podSelector": SELECTORS, "namespaceSelector": SELECTORS}).filter(bool)
PORTS = st.lists(st.fixed_dictionaries({"port": st.sampled_from([1, 2, "one"])}), max_size=2)
TYPES = st.lists(st.sampled_from(["Ingress", "Egress"]), unique=True)


@st.composite
def some_policies(draw: st.DrawFn) -> list[dict[str, Any]]:
    def rules(peers: str) -> list[dict[str, Any]]:
        rule = st.fixed_dictionaries({peers: st.lists(PEERS, max_size=2), "ports": PORTS})
        return draw(st.lists(rule, max_size=2))

    return [
        {
            "namespace": draw(st.sampled_from(["n", "m"])),
            "podSelector": draw(SELECTORS),
            "policyTypes": draw(TYPES),
            "ingress": rules("from"),
            "egress": rules("to"),
        }
        for _ in range(draw(st.integers(0, 3)))
    ]


def plainly(specs: list[dict[str, Any]], source: Party, target: Party, port: int) -> bool:
    """The same said in sets: the pairs that every restricted side allows."""

    def has(selector: dict[str, Any] | None, labels: Any) -> bool:
        return selector is not None and all(labels.get(k) == v for k, v in selector["matchLabels"].items())

    for direction, pod, other, peers in (("Egress", source, target, "to"), ("Ingress", target, source, "from")):
        restricting = [
            spec
            for spec in specs
            if spec["namespace"] == pod.namespace
            and has(spec["podSelector"], pod.labels)
            and (
                direction in spec["policyTypes"]
                or (not spec["policyTypes"] and (direction == "Ingress" or spec["egress"]))
            )
        ]
        allowed = {
            (number, same)
            for spec in restricting
            for rule in spec[direction.lower()]
            for number, same in product((1, 2), (True,))
            if (
                not rule["ports"]
                or number in {target.ports["one"][0] if p["port"] == "one" else p["port"] for p in rule["ports"]}
            )
            and (
                not rule[peers]
                or any(
                    (
                        has(peer["namespaceSelector"], other.namespace_labels)
                        if "namespaceSelector" in peer
                        else other.namespace == spec["namespace"]
                    )
                    and ("podSelector" not in peer or has(peer["podSelector"], other.labels))
                    for peer in rule[peers]
                )
            )
        }
        if restricting and (port, True) not in allowed:
            return False
    return True


@given(
    specs=some_policies(), labels=st.tuples(LABELS, LABELS, LABELS), port=st.sampled_from([1, 2]), same=st.booleans()
)
def test_random_policies_are_as_a_plain_reading_has_them(
    specs: list[dict[str, Any]], labels: tuple[Any, Any, Any], port: int, same: bool
) -> None:
    source = Party("n", labels[0], {"a": "x"}, ports={"one": (2, "TCP")})
    target = Party("n" if same else "m", labels[1], {"a": "x"} if same else labels[2], ports={"one": (1, "TCP")})
    known = [policy(spec["namespace"], **{k: v for k, v in spec.items() if k != "namespace"}) for spec in specs]
    assert goes(known, source, target, port) is plainly(specs, source, target, port)
