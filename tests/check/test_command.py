"""`python -m seatrial check` as people run it: small systems, each wrong in one way, and what is said about them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from seatrial.check.system import Place
from seatrial.check.verdicts import Answer, Assumption, Repair, Report, Step, Verdict
from seatrial.cli.reports import text

WEB = """\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  replicas: 2
  selector:
    matchLabels:
      app: web
  template:
    metadata:
      labels:
        app: web
    spec:
      containers:
        - name: web
          image: web:1
"""
NODE = """\
apiVersion: v1
kind: Node
metadata:
  name: small
status:
  allocatable:
    cpu: "1"
    memory: 1Gi
    pods: "10"
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def seatrial(*words: str, stdin: str = "", within: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "COLUMNS"}
    command = [sys.executable, "-m", "seatrial", "check", *words]
    return subprocess.run(
        [*within, *command], input=stdin, capture_output=True, text=True, env=environment, check=False
    )


def verdicts(text: str, only: str, code: int) -> list[dict[str, Any]]:
    """The verdicts on the system that `text` describes, read from standard input."""
    done = seatrial("-", "--only", only, "--output", "json", stdin=text)
    assert (done.returncode, done.stderr) == (code, "")
    report: dict[str, Any] = json.loads(done.stdout)
    return list(report["verdicts"])


def refuted(text: str, only: str) -> tuple[str, str, str]:
    """Place, path and message of the one thing that is wrong; of several fields in conflict the first."""
    (found,) = verdicts(text, only, 1)
    assert (found["property"], found["verdict"]) == (only, "refuted")
    place = found["places"][0]
    return f"{place['file']}:{place['line']}", place["path"], found["message"]


def test_a_volume_of_a_config_map_that_is_not_there() -> None:
    volumes = "          volumeMounts:\n            - name: settings\n              mountPath: /etc/settings\n"
    volumes += "      volumes:\n        - name: settings\n          configMap:\n            name: setings\n"
    settings = "---\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: settings\n"
    (found,) = verdicts(WEB + volumes + settings, "references/exist", 1)
    named, meant = found["places"]
    assert (named["line"], named["path"]) == (24, "spec.template.spec.volumes[0].configMap.name")
    assert (meant["line"], meant["path"]) == (29, "metadata.name")
    assert found["message"] == (
        "the pod stays in ContainerCreating (FailedMount): there is no ConfigMap default/setings; probably settings is"
        " meant"
    )


def test_a_service_account_that_is_not_there() -> None:
    place, path, message = refuted(WEB + "      serviceAccountName: robot\n", "references/exist")
    assert (place, path) == ("-:18", "spec.template.spec.serviceAccountName")
    assert message == (
        "no pod is created (FailedCreate: error looking up service account): there is no ServiceAccount default/robot"
    )


def test_a_field_that_the_schema_does_not_have() -> None:
    place, path, message = refuted(WEB.replace("  replicas: 2", "  replica: 2"), "schema/valid")
    assert (place, path) == ("-:6", "spec.replica")
    assert "replica" in message


def test_a_pod_that_fits_no_node() -> None:
    resources = '          resources:\n            requests:\n              cpu: "600m"\n'
    place, path, message = refuted(WEB + resources + "---\n" + NODE, "schedule/fits")
    assert (place, path) == ("-:6", "spec.replicas")
    assert message.startswith("pod 2 finds no node: 0/1 nodes are available: 1 Insufficient cpu.")


def test_recreate_takes_all_pods_away_and_promises_none() -> None:
    text = WEB.replace("  replicas: 2", "  strategy:\n    type: Recreate\n  replicas: 2")
    found = {verdict["property"]: verdict for verdict in verdicts(text, "rollout/*", 0)}
    assert found["rollout/available"]["message"].startswith("at least 0 of 2 pods")
    assert found["rollout/converges"]["covered"]["states"] == 43


def test_a_paused_deployment_never_installs_and_resuming_it_is_the_repair() -> None:
    asked = ("rollout/converges", "rollout/available", "rollout/rollback")
    text = WEB.replace("  replicas: 2", "  paused: true")
    converges, available, rollback = (
        next(each for each in verdicts(text, "rollout/*", 1) if each["property"] == name) for name in asked
    )
    assert converges["verdict"] == "refuted"
    assert converges["message"].startswith("the install never ends: it is paused")
    assert [(edit["path"], edit["to"]) for edit in converges["repairs"][0]["edits"]] == [("spec.paused", False)]
    assert available["verdict"] == rollback["verdict"] == "unknown"


def test_a_deployment_of_no_pods_says_that_there_is_nothing_to_roll_out() -> None:
    found = verdicts(WEB.replace("replicas: 2", "replicas: 0"), "rollout/*", 0)
    assert {verdict["verdict"] for verdict in found} == {"proved"}
    told = [verdict["message"] for verdict in found if verdict["property"] != "arithmetic/rollout"]
    assert all("nothing to roll out" in message for message in told), told


def test_only_what_is_asked_for_is_answered() -> None:
    found = verdicts(WEB, "schema/*, rollout/available", 0)
    assert [verdict["property"] for verdict in found] == ["schema/valid", "rollout/available"]


def test_a_system_that_stands_is_proved_on_files_and_on_standard_input(here: Path) -> None:
    (here / "web.yaml").write_text(WEB)
    from_file, from_stdin = seatrial("web.yaml"), seatrial("-", stdin=WEB)
    assert (from_file.returncode, from_stdin.returncode) == (0, 0)
    assert from_file.stdout == from_stdin.stdout
    assert "\x1b" not in from_file.stdout


def test_what_is_unknown_has_its_own_exit_code() -> None:
    (found,) = verdicts(WEB.replace("  replicas: 2", "  paused: true"), "rollout/available", 2)
    assert found["verdict"] == "unknown"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["missing.yaml"], "no such file"),
        (["broken.yaml"], "broken.yaml:2: "),
        (["closed.yaml"], "is a broken link"),
        (["empty"], "no Kubernetes objects in empty"),
        (["web.yaml", "--only", "rolout/*"], "no property matches rolout/*; there is references/exist"),
        (["web.yaml", "--kubernetes", "1.2"], "no Kubernetes 1.2 here; there is 1.25"),
    ],
)
def test_what_cannot_be_answered_is_told_and_exits_with_3(here: Path, words: list[str], message: str) -> None:
    (here / "web.yaml").write_text(WEB)
    (here / "broken.yaml").write_text("a: [1\n")
    (here / "empty").mkdir()
    os.mkfifo(here / "closed.yaml")
    done = seatrial(*words)
    assert (done.returncode, done.stdout) == (3, "")
    assert message in done.stderr


def test_a_file_that_may_not_be_read(here: Path) -> None:
    (here / "web.yaml").write_text(WEB)
    (here / "web.yaml").chmod(0)
    without_privilege = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search") if os.geteuid() == 0 else ()
    done = seatrial("web.yaml", within=without_privilege)
    assert (done.returncode, done.stdout) == (3, "")
    assert "cannot be read: Permission denied" in done.stderr


def test_text_for_a_terminal_is_folded_and_coloured() -> None:
    waiting = "0/3 nodes are available: 3 node(s) didn't match pod anti-affinity rules. " * 3
    verdict = Verdict(
        property="rollout/converges",
        subject="Deployment default/web",
        verdict=Answer.REFUTED,
        message=waiting.strip(),
        places=(Place("web.yaml", 9, 3, "spec.replicas"),),
        trace=(Step("User", "installs web"), Step("Scheduler", waiting.strip())),
        repairs=(Repair((), Answer.PROVED),),
        method="exploration",
    )
    given = Assumption("nodes/fail=0", "given", "no node fails " * 20)
    usual = Assumption("storage/binds", "default", "claims are bound")
    report = Report(kubernetes="1.37", verdicts=(verdict,), assumptions=(given, usual))
    plain = text.render(report, width=80).splitlines()
    assert all(len(line) <= 80 for line in plain)
    assert plain[-2].startswith("  nodes/fail=0  no node fails")
    assert plain[-1] == "  storage/binds"
    assert plain[-2].endswith("…")
    assert [line for line in plain if "Scheduler  0/3" in line]
    assert " ".join(" ".join(plain).split()).count(waiting.strip()) == 2
    coloured = text.render(report, width=80, colour=True).splitlines()
    assert coloured[0].startswith("\x1b[31m✗ rollout/converges\x1b[0m  Deployment default/web: ")
    assert coloured[1:] == plain[1:]


APART = """\
      affinity:
        podAntiAffinity:
          requiredDuringSchedulingIgnoredDuringExecution:
            - topologyKey: kubernetes.io/hostname
              labelSelector:
                matchLabels:
                  app: web
"""


def test_a_repair_that_leaves_another_deployment_refuted_does_not_say_proved() -> None:
    web = WEB.replace("replicas: 2", "replicas: 1") + APART
    both = f"{web}---\n{web.replace('web', 'shop')}---\n{NODE}"
    for found in verdicts(both, "rollout/converges", 1):
        assert found["repairs"]
        assert {repair["verdict"] for repair in found["repairs"][:1]} == {"refuted"}


def test_no_repair_is_offered_after_which_pods_do_not_fit() -> None:
    """Three replicas that keep apart on one node: neither another bound nor one replica or node more or less helps."""
    text = f"{WEB.replace('replicas: 2', 'replicas: 3')}{APART}---\n{NODE}"
    (found,) = verdicts(text, "rollout/converges", 1)
    assert [edit["path"].rpartition(".")[2] for repair in found["repairs"] for edit in repair["edits"]] == [
        "requiredDuringSchedulingIgnoredDuringExecution",
        "preferredDuringSchedulingIgnoredDuringExecution",
    ]


CUSTOM = """\
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: widgets.example.com
spec:
  group: example.com
  scope: Namespaced
  names: {plural: widgets, kind: Widget}
  versions:
    - name: v1
      served: true
      storage: true
      schema:
        openAPIV3Schema:
          type: object
          properties:
            spec:
              type: object
              properties:
                size: {type: integer, maximum: 3}
---
apiVersion: example.com/v1
kind: Widget
metadata:
  name: w
spec:
  size: 4
  colour: red
"""


def test_custom_resources_are_checked_by_the_definitions_beside_them() -> None:
    found = verdicts(CUSTOM, "schema/valid", 1)
    assert {(each["message"], each["places"][0]["line"]) for each in found} == {
        ('spec.colour: unknown field "spec.colour"', 28),
        ("spec.size: Invalid value: 4: spec.size in body should be less than or equal to 3", 27),
    }


def test_a_definition_that_would_be_refused_is_told_and_makes_no_kind() -> None:
    found = verdicts(CUSTOM.replace("type: integer, maximum: 3", "maximum: 3"), "schema/valid", 1)
    messages = [each["message"] for each in found]
    assert any("must not be empty for specified object fields" in each for each in messages)
    assert any("has no kind Widget in example.com/v1" in each for each in messages)


AUTOSCALED = """\
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  name: web
spec:
  maxReplicas: 3
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}
---
"""


def test_the_pods_that_an_autoscaler_may_ask_for_must_fit_too() -> None:
    """Two of the pods fill the machine; the third is one that only the autoscaler asks for."""
    resources = "          resources: {requests: {cpu: 400m}}\n"
    place, path, message = refuted(AUTOSCALED + WEB + resources + "---\n" + NODE, "schedule/fits")
    assert (place, path) == ("-:6", "spec.maxReplicas")
    assert message.startswith("pod 3, for which HorizontalPodAutoscaler default/web may ask, finds no node: 0/1 nodes")
    assert "Insufficient cpu" in message


def test_absurd_numbers_of_replicas_are_answered_soon() -> None:
    place, path, message = refuted(WEB.replace("replicas: 2", "replicas: 2147483647"), "schedule/fits")
    assert (place, path) == ("-:6", "spec.replicas")
    assert "Too many pods" in message
    found = verdicts(WEB.replace("replicas: 2", "replicas: 2147483647"), "rollout/*", 2)
    assert {v["verdict"] for v in found if v["property"] != "arithmetic/rollout"} == {"unknown"}


def test_the_rest_is_checked_without_what_cannot_be_read(here: Path) -> None:
    (here / "web.yaml").write_text(WEB)
    (here / "broken.yaml").write_text("apiVersion: v1\nkind: [1\n")
    done = seatrial(".", "--only", "references/*")
    assert done.returncode == 3
    assert "✓ references/exist" in done.stdout
    assert "broken.yaml:3: not valid YAML" in done.stderr
    assert "the rest was checked without these" in done.stderr
