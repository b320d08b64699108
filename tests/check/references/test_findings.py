"""What dangles without being a name: ports, labels, volumes, variables; and what is no defect."""

from __future__ import annotations

from pathlib import Path

import pytest

from seatrial import project
from seatrial.check import judge
from seatrial.check.verdicts import Answer, Report

WEB = """\
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
          ports:
            - {name: http, containerPort: 8080}
"""
SERVICE = """\
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: web}
  ports:
    - port: 80
      targetPort: http
"""
OPERATOR = """\
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: pilot}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: pilot}
rules:
  - {apiGroups: [""], resources: [RESOURCE], verbs: [VERB]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: pilot}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: pilot}
subjects:
  - {kind: ServiceAccount, name: pilot, namespace: default}
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def check(text: str, *, closed: bool = False) -> Report:
    Path("system.yaml").write_text(text)
    return judge.judge(project.load(["system.yaml"]), ["references/exist", "schema/valid"], closed=closed)


def refuted(report: Report) -> list[tuple[int, str]]:
    return [(v.places[0].line, v.message) for v in report.verdicts if v.verdict is Answer.REFUTED]


def only(text: str) -> tuple[int, str]:
    (found,) = refuted(check(text))
    return found


def operator(resource: str, verb: str) -> str:
    text = OPERATOR.replace("RESOURCE", resource).replace("VERB", verb)
    return f"{WEB}      serviceAccountName: pilot\n{text}"


def test_a_named_target_port_that_no_container_has() -> None:
    line, message = only(WEB + SERVICE.replace("targetPort: http", "targetPort: htpp"))
    assert line == 22
    assert "no endpoints" in message
    assert "probably http is meant" in message


def test_a_target_port_beside_the_only_one_that_is_declared_and_unserved() -> None:
    line, message = only(WEB + SERVICE.replace("targetPort: http", "targetPort: 80"))
    assert line == 22
    assert "declare port 8080" in message


def test_a_number_that_no_container_declares_is_expected_of_the_image() -> None:
    two = "    - {name: other, port: 81, targetPort: 9000}\n"
    report = check(WEB + SERVICE.replace("    - port: 80", "    - name: http\n      port: 80") + two)
    assert refuted(report) == []
    assert [each.what for each in report.expects] == ["port 9000 of Deployment default/web"]


def test_a_selector_that_also_catches_pods_which_do_not_listen() -> None:
    database = WEB.replace("name: web}", "name: db}").replace("8080", "5432").replace("name: http", "name: sql")
    database = database.replace("{app: web}", "{app: web, part: db}")
    found = refuted(check(f"{WEB}---\n{database}" + SERVICE.replace("targetPort: http", "targetPort: 8080")))
    ((line, message),) = [each for each in found if "connections" in each[1]]
    assert line == 33
    assert "also catches the pods of Deployment default/db" in message


def test_a_workload_whose_selector_catches_the_pods_of_another() -> None:
    other = WEB.replace("{name: web}", "{name: shop}").replace("labels: {app: web}", "labels: {app: web, tier: shop}")
    other = other.replace("matchLabels: {app: web}", "matchLabels: {app: web, tier: shop}")
    line, message = only(f"{WEB}---\n{other}")
    assert line == 5
    assert "count the pods of Deployment default/shop" in message


def test_two_workloads_with_one_selector_are_one_finding() -> None:
    other = WEB.replace("{name: web}", "{name: shop}")
    assert len(refuted(check(f"{WEB}---\n{other}"))) == 1


def test_a_service_without_a_selector_and_endpoints() -> None:
    line, message = only(WEB + SERVICE.replace("  selector: {app: web}\n", ""))
    assert line == 18
    assert "has no selector" in message
    endpoints = (
        "---\napiVersion: v1\nkind: Endpoints\nmetadata: {name: web}\nsubsets:\n"
        "  - addresses: [{ip: 192.0.2.1}]\n    ports: [{port: 80}]\n"
    )
    assert refuted(check(WEB + SERVICE.replace("  selector: {app: web}\n", "") + endpoints)) == []


def test_a_volume_that_nothing_mounts() -> None:
    line, message = only(WEB + "      volumes:\n        - {name: cache, emptyDir: {}}\n")
    assert line == 15
    assert "volume 'cache' is mounted by none" in message


MOUNT = """\
          volumeMounts:
            - {name: settings, mountPath: /etc/web.toml, subPath: web.tmol}
      volumes:
        - name: settings
          configMap: {name: web}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: web}
data: {web.toml: ""}
"""


def test_a_sub_path_of_a_key_that_is_not_there() -> None:
    line, message = only(WEB + MOUNT)
    assert line == 15
    assert "empty directory at /etc/web.toml" in message
    assert "probably web.toml is meant" in message
    assert refuted(check(WEB + MOUNT.replace("tmol", "toml"))) == []


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ('[{name: A, value: "$(B)"}, {name: B, value: x}]', "B is defined only after it"),
        ('[{name: B, value: x}, {name: A, value: "$(B)"}]', ""),
        ('[{name: A, value: "$(NOWHERE)"}]', "NOWHERE is no variable of the container"),
        ('[{name: A, value: "$$(NOWHERE)"}]', ""),
        ('[{name: A, value: "$(KUBERNETES_SERVICE_HOST)"}]', ""),
        ('[{name: A, value: "$(hostname)"}]', ""),
    ],
)
def test_a_variable_that_is_not_defined_before_stays_as_it_stands(env: str, message: str) -> None:
    found = refuted(check(f"{WEB}          env: {env}\n"))
    assert [text.partition(": ")[2] for _, text in found] == ([message] if message else [])


MONITOR = """\
---
apiVersion: monitoring.coreos.com/v1
kind: ServiceMonitor
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  endpoints:
    - port: metrics
"""


def test_a_monitor_of_a_port_that_the_service_does_not_name() -> None:
    service = SERVICE.replace("{name: web}", "{name: web, labels: {app: web}}")
    line, message = only(WEB + service + MONITOR)
    assert line == 30
    assert "no port of Service default/web is named 'metrics'" in message
    assert refuted(check(WEB + service.replace("- port: 80", "- name: metrics\n      port: 80") + MONITOR)) == []


def test_a_monitor_that_no_prometheus_of_the_input_loads() -> None:
    service = SERVICE.replace("{name: web}", "{name: web, labels: {app: web}}").replace(
        "- port: 80", "- name: metrics\n      port: 80"
    )
    prometheus = (
        "---\napiVersion: monitoring.coreos.com/v1\nkind: Prometheus\nmetadata: {name: main}\n"
        "spec: {serviceMonitorSelector: {matchLabels: {team: ops}}}\n"
    )
    found = refuted(check(WEB + service + MONITOR + prometheus))
    assert any("no Prometheus of the input loads it" in message for _, message in found)
    loaded = MONITOR.replace("{name: web}", "{name: web, labels: {team: ops}}")
    assert refuted(check(WEB + service + loaded + prometheus)) == []


def test_what_a_role_of_the_input_lets_a_workload_make_is_expected_of_it() -> None:
    mount = MOUNT.partition("---")[0].replace(", subPath: web.tmol", "")
    with_mount = operator("configmaps", "create").replace(
        "      serviceAccountName", f"{mount}      serviceAccountName"
    )
    report = check(with_mount)
    assert refuted(report) == []
    assert [each.by for each in report.expects] == ["a workload of the system, whose role lets it create such objects"]
    assert refuted(check(with_mount.replace("verbs: [create]", "verbs: [get]"))) != []


def test_labels_that_a_workload_puts_on_pods_while_it_runs() -> None:
    service = SERVICE.replace("{app: web}", "{app: web, role: leader}")
    assert refuted(check(operator("pods", "patch") + service)) == []
    assert len(refuted(check(operator("pods", "get") + service))) == 1


def test_pods_of_a_stateful_set_are_selected_by_their_names() -> None:
    one = "{app: web, statefulset.kubernetes.io/pod-name: web-0}"
    stateful = WEB.replace("Deployment", "StatefulSet")
    assert refuted(check(stateful + SERVICE.replace("{app: web}", one))) == []
    assert len(refuted(check(stateful + SERVICE.replace("{app: web}", one.replace("web-0", "web-7"))))) == 1


CERTIFICATE = """\
---
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: web}
spec:
  secretName: web-tls
  issuerRef: {name: letsencrypt, kind: ClusterIssuer}
"""
INGRESS = """\
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web}
spec:
  tls: [{hosts: [web.example.com], secretName: web-tls}]
  defaultBackend: {service: {name: web, port: {number: 80}}}
"""


def test_a_certificate_makes_its_secret() -> None:
    report = check(WEB + SERVICE + INGRESS + CERTIFICATE)
    assert refuted(report) == []
    assert not [each for each in report.expects if "web-tls" in each.what]
    assert [each for each in check(WEB + SERVICE + INGRESS).expects if "web-tls" in each.what]


def test_a_custom_resource_without_its_definition_is_expected_from_outside_and_closed_refutes_it() -> None:
    report = check(WEB + SERVICE + INGRESS + CERTIFICATE)
    assert [each.what for each in report.expects] == [
        "ClusterIssuer letsencrypt",
        "CustomResourceDefinition of Certificate (cert-manager.io)",
    ]
    closed = check(WEB + SERVICE + INGRESS + CERTIFICATE, closed=True)
    assert {line for line, _ in refuted(closed)} == {32, 36}
    assert closed.expects == ()


DEFINITION = """\
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: certificates.cert-manager.io}
spec:
  group: cert-manager.io
  scope: Namespaced
  names: {plural: certificates, kind: Certificate}
  versions:
    - {name: v1beta1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}
"""


def test_a_definition_that_does_not_serve_the_version_is_told() -> None:
    found = refuted(check(CERTIFICATE + DEFINITION))
    assert any("serves v1beta1, not v1" in message for _, message in found)


def test_an_owner_in_another_api_group_is_told() -> None:
    autoscaler = (
        "---\napiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: {name: web}\n"
        "spec:\n  maxReplicas: 3\n  scaleTargetRef: {apiVersion: extensions/v1beta1, kind: Deployment, name: web}\n"
    )
    _, message = only(WEB + autoscaler)
    assert "it is apps/v1" in message


def test_a_mutating_webhook_of_pods_may_add_labels() -> None:
    service = SERVICE.replace("{app: web}", "{app: web, mesh: member}")
    hook = (
        "---\napiVersion: admissionregistration.k8s.io/v1\nkind: MutatingWebhookConfiguration\nmetadata: {name: mesh}\n"
        "webhooks:\n  - name: mesh.example.com\n    admissionReviewVersions: [v1]\n    sideEffects: None\n"
        "    clientConfig: {url: 'https://mesh.example.com'}\n"
        "    rules: [{apiGroups: [''], apiVersions: [v1], operations: [CREATE], resources: [pods]}]\n"
    )
    assert refuted(check(WEB + service + hook)) == []
    assert len(refuted(check(WEB + service))) == 1


def test_the_same_object_in_two_files_is_no_other_workload() -> None:
    assert refuted(check(f"{WEB}---\n{WEB}" + SERVICE)) == []


def test_files_without_a_namespace_may_be_applied_where_a_binding_says() -> None:
    binding = (
        "---\napiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata: {name: pilot}\n"
        "roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view}\n"
        "subjects: [{kind: ServiceAccount, name: pilot, namespace: sea}]\n"
    )
    account = "---\napiVersion: v1\nkind: ServiceAccount\nmetadata: {name: pilot}\n"
    report = check(binding + account)
    assert refuted(report) == []
    assert ["--namespace sea" in each.by for each in report.expects] == [True]
    ((_, message),) = refuted(check(binding + account.replace("{name: pilot}", "{name: pilot, namespace: yard}")))
    assert "lies in namespace yard" in message


def test_a_monitor_of_any_namespace_may_mean_services_of_others() -> None:
    report = check(MONITOR.replace("  selector:", "  namespaceSelector: {any: true}\n  selector:"))
    assert refuted(report) == []
    assert [each.what for each in report.expects if "app=web" in each.what]


def test_a_monitor_without_any_service_in_the_input_is_about_somebody_else_s() -> None:
    report = check(WEB + MONITOR)
    assert refuted(report) == []
    assert [each.by for each in report.expects if "Services" in each.what] == ["whoever deploys what is scraped"]
