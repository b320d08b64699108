"""What manifests say about who needs whom: each edge with its strength, its target and the field that names it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from seatrial import project
from seatrial.check.reading import commands, dependencies
from seatrial.check.reading.dependencies import Edge, Means, Need
from seatrial.check.system import dotted

SERVICES = """
apiVersion: v1
kind: Service
metadata: {name: db}
spec: {selector: {app: db}, ports: [{port: 5432}]}
---
apiVersion: v1
kind: Service
metadata: {name: peers}
spec: {clusterIP: None, selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: mq, namespace: shared}
spec: {selector: {app: mq}, ports: [{port: 5672}]}
---
"""
POD = """
apiVersion: v1
kind: Pod
metadata: {{name: web, labels: {{app: web}}}}
spec:
  initContainers:
  - name: wait
    image: busybox:1
    command: {command}
    env: [{{name: DB, value: db}}]
  containers:
  - name: web
    image: web:1
"""


WAITS, CHECKS, NAME, CONNECTION = Means.WAITS, Means.CHECKS, Need.NAME, Need.CONNECTION


def shell(script: str) -> str:
    return json.dumps(["sh", "-c", script])


def edges(tmp_path: Path, text: str) -> tuple[Edge, ...]:
    (tmp_path / "system.yaml").write_text(text)
    system = project.load([tmp_path])
    assert not system.findings
    return dependencies.edges(system)


@pytest.mark.parametrize(
    ("command", "means", "need", "target", "port"),
    [
        (shell("until nc -z db 5432; do sleep 1; done"), WAITS, CONNECTION, "db", 5432),
        (shell("while ! nc -w 2 -z $DB 5432; do sleep 1; done"), WAITS, CONNECTION, "db", 5432),
        (shell("until nslookup ${DB}; do echo waiting for db; sleep 2; done;"), WAITS, NAME, "db", None),
        ('["sh", "-ec", "until getent hosts peers.default.svc; do sleep 2; done"]', WAITS, NAME, "peers", None),
        (shell("until curl -sf http://db:5432/healthz; do sleep 2; done"), WAITS, CONNECTION, "db", 5432),
        (shell("while true; do nc -z db 5432 && break; sleep 1; done"), WAITS, CONNECTION, "db", 5432),
        (shell('until [ "$(curl -s http://mq.shared:5672)" = ok ]; do sleep 1; done'), WAITS, CONNECTION, "mq", 5672),
        (shell("until (echo > /dev/tcp/db/5432) 2>/dev/null; do sleep 1; done"), WAITS, CONNECTION, "db", 5432),
        (shell("until pg_isready -h db -p 5432; do sleep 1; done"), WAITS, CONNECTION, "db", None),
        (shell("for i in $(seq 30); do nc -z db 5432 && exit 0; done; exit 1"), WAITS, CONNECTION, "db", 5432),
        ('["wait-for-it.sh", "db:5432", "--", "true"]', WAITS, CONNECTION, "db", 5432),
        ('["curl", "http://db:5432/"]', WAITS, CONNECTION, "db", 5432),
        (shell("until nslookup other; do sleep 2; done"), WAITS, NAME, "other", None),
        (shell("curl http://db:5432/ || true"), Means.USES, CONNECTION, "db", 5432),
    ],
)
def test_what_an_init_container_waits_for(
    tmp_path: Path, command: str, means: Means, need: Need, target: str, port: int | None
) -> None:
    found = [edge for edge in edges(tmp_path, SERVICES + POD.format(command=command)) if edge.container == "wait"]
    strong = next(edge for edge in found if edge.means is means)
    assert (strong.need, strong.target.name, strong.target.port) == (need, target, port)
    assert dotted(strong.path).startswith("spec.initContainers[0].command[")
    assert (strong.target.entry is None) == (target == "other")
    assert means is Means.WAITS or not any(edge.means is Means.WAITS for edge in found)


@pytest.mark.parametrize(
    "command",
    [
        "['sh', '-c', 'until nc -z localhost 80; do sleep 1; done']",
        "['sh', '-c', 'until curl -f https://example.com/; do sleep 1; done']",
        "['sh', '-c', 'until nslookup kubernetes.io; do sleep 1; done']",
        "['sh', '-c', 'until nc -z 10.0.0.1 5432; do sleep 1; done']",
        "['sh', '-c', 'until nc -z $HOST 5432; do sleep 1; done']",
        "['sh', '-c', 'until test -f /data/ready; do echo waiting for db; sleep 1; done']",
        "['/start.sh']",
    ],
)
def test_nobody_in_the_system_is_waited_for(tmp_path: Path, command: str) -> None:
    assert not [edge for edge in edges(tmp_path, SERVICES + POD.format(command=command)) if edge.container == "wait"]


USES = """
apiVersion: v1
kind: ConfigMap
metadata: {name: web}
data:
  BROKER: mq.shared:5672
  app.toml: |
    [database]
    host = "db"
    title = "db of the shop"
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: web
        image: web:1
        env:
        - {name: DATABASE_URL, value: "postgres://user:secret@db:5432/app"}
        - {name: APP, value: db}
        - {name: BROKER, valueFrom: {configMapKeyRef: {name: web, key: BROKER}}}
        volumeMounts: [{name: config, mountPath: /etc/web}]
        readinessProbe: {exec: {command: [sh, -c, "nslookup peers && wget -q localhost:80"]}}
        livenessProbe: {exec: {command: [pg_isready, -h, db]}}
      volumes: [{name: config, configMap: {name: web}}]
"""


def test_uses_and_probes_with_the_field_that_names_the_target(tmp_path: Path) -> None:
    found = edges(tmp_path, SERVICES + USES)
    assert {
        (edge.means, edge.need, edge.target.name, edge.target.port, edge.probe, edge.holder.key.kind, dotted(edge.path))
        for edge in found
    } == {
        (CHECKS, NAME, "peers", None, "readiness", "Deployment", f"{CONTAINER}.readinessProbe.exec.command[2]"),
        (CHECKS, CONNECTION, "db", None, "liveness", "Deployment", f"{CONTAINER}.livenessProbe.exec.command[0]"),
        (Means.USES, CONNECTION, "db", 5432, "", "Deployment", f"{CONTAINER}.env[0].value"),
        (Means.USES, CONNECTION, "mq", 5672, "", "ConfigMap", "data.BROKER"),
        (Means.USES, CONNECTION, "db", None, "", "ConfigMap", "data.app.toml"),
    }


CONTAINER = "spec.template.spec.containers[0]"


def test_a_pod_behind_a_headless_service_is_called_by_its_own_name(tmp_path: Path) -> None:
    command = "['sh', '-c', 'until nslookup web-0.peers; do sleep 1; done']"
    (edge,) = (each for each in edges(tmp_path, SERVICES + POD.format(command=command)) if each.means is Means.WAITS)
    assert (edge.target.name, edge.target.host) == ("peers", "web-0")


def test_kubectl_waits_for_what_it_names(tmp_path: Path) -> None:
    job = """
---
apiVersion: batch/v1
kind: Job
metadata: {name: migrate}
spec:
  template:
    metadata: {labels: {job: migrate}}
    spec: {restartPolicy: Never, containers: [{name: migrate, image: "migrate:1"}]}
"""
    command = "['kubectl', 'wait', '--for=condition=complete', 'job/migrate', '--timeout', '60s']"
    (edge,) = (
        each for each in edges(tmp_path, SERVICES + POD.format(command=command) + job) if each.means is Means.WAITS
    )
    assert (edge.target.kind, edge.target.name, edge.need) == ("Job", "migrate", Need.DONE)
    assert edge.target.entry is not None


def test_a_script_that_is_no_script_is_read_to_its_end() -> None:
    for text in ("until (((", "$(" * 5_000, '"' * 9_999, "until nc -z $(", "`" * 3_001, "\\", "while"):
        commands.calls(["sh", "-c", text], {})
    assert commands.calls(["sh", "-c", "x" * 30_000], {}) == ()


@pytest.mark.parametrize(
    ("field", "waits"),
    [
        ("", True),
        ("hostAliases: [{ip: 10.0.0.1, hostnames: [other]}]", False),
        ("dnsPolicy: Default", False),
        ("dnsConfig: {searches: [corp.example.com]}", False),
    ],
)
def test_a_name_that_the_pod_may_resolve_by_itself_is_nobodys(tmp_path: Path, field: str, waits: bool) -> None:
    text = POD.format(command=shell("until nslookup other; do sleep 1; done")).rstrip() + f"\n  {field}\n"
    assert any(each.means is WAITS for each in edges(tmp_path, SERVICES + text)) == waits
