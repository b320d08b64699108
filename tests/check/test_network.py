"""`network/reaches` beyond the scenarios: what is no finding, and what the message says."""

from __future__ import annotations

from pathlib import Path

import pytest

from seatrial import project
from seatrial.check import judge
from seatrial.check.verdicts import Answer

SYSTEM = (Path(__file__).parents[1] / "scenarios/network/egress-without-dns/repaired/system.yaml").read_text()


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def found(text: str) -> list[str]:
    Path("system.yaml").write_text(text)
    verdicts = judge.judge(project.load(["system.yaml"]), ["network/reaches"]).verdicts
    return [v.message for v in verdicts if v.verdict is Answer.REFUTED]


def test_a_port_that_the_service_does_not_have() -> None:
    (message,) = found(SYSTEM.replace("store:6379", "store:6380"))
    assert message == "connections to store:6380 time out: Service default/store has no port 6380 (it has 6379)"


def test_a_rule_for_another_port_cuts_the_connection() -> None:
    (message,) = found(SYSTEM.replace("- port: redis", "- port: 80"))
    assert "lets them out to port redis" in message


@pytest.mark.parametrize(
    "rule",
    [
        "    - {}\n",
        "    - ports: [{protocol: UDP, port: 53}]\n",
        "    - to: [{namespaceSelector: {}}]\n",
        "    - to: [{namespaceSelector: {matchLabels: {name: kube-system}}}]\n",
        "    - to: [{ipBlock: {cidr: 169.254.20.10/32}}]\n",
        "    - to: [{ipBlock: {cidr: 0.0.0.0/0}}]\n",
    ],
)
def test_whatever_may_let_dns_through_is_no_finding(rule: str) -> None:
    start = SYSTEM.index("    - to:\n        - namespaceSelector")
    assert len(found(SYSTEM[:start])) == 1
    assert found(SYSTEM[:start] + rule) == []


def test_dns_over_tcp_alone_is_not_enough() -> None:
    (message,) = found(SYSTEM.replace("{protocol: UDP, port: 53}", "{protocol: TCP, port: 5353}"))
    assert "53/UDP" in message


def test_a_pod_that_names_nothing_needs_no_dns() -> None:
    start = SYSTEM.index("    - to:\n        - namespaceSelector")
    silent = SYSTEM[:start].replace("value: store:6379", "value: ''")
    assert found(silent) == []


def test_init_containers_that_end_may_want_a_port_again() -> None:
    both = SYSTEM.replace(
        "      containers:\n        - name: web\n",
        "      initContainers:\n        - {name: first, image: first:1, ports: [{containerPort: 8080}]RESTART}\n"
        "      containers:\n        - name: web\n",
    )
    assert found(both.replace("RESTART", "")) == []
    (message,) = found(both.replace("RESTART", ", restartPolicy: Always"))
    assert "listen on port 8080/TCP" in message


def test_traffic_that_stays_on_the_node_is_fine_with_a_pod_on_each() -> None:
    local = SYSTEM.replace(
        "spec:\n  selector:\n    app: store\n  ports",
        "spec:\n  internalTrafficPolicy: Local\n  selector:\n    app: store\n  ports",
    )
    (message,) = found(local)
    assert "are dropped" in message
    head, tail = local.split("---\n", 1)
    daemons = tail.replace("kind: Deployment", "kind: DaemonSet").replace("  replicas: 1\n", "")
    assert found(f"{head}---\n{daemons}") == []
