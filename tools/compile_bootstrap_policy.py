"""Write the roles and bindings of a new cluster as Kubernetes has them: `seatrial/control/bootstrap_policy.txt`.

They are read from a kube-apiserver that has just been started, without controllers (`tests/conformance/upstream`).

Run from the repository after changing the version there:  .venv/bin/python -m tools.compile_bootstrap_policy
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from seatrial.deploy.client import Client
from seatrial.kube.objects import JsonObject
from tests.conformance.upstream import VERSION, Upstream

TARGET = Path(__file__).parent.parent / "src/seatrial/control/bootstrap_policy.txt"
PREFIX = "rbac.authorization.k8s.io/aggregate-to-"
API = "/apis/rbac.authorization.k8s.io/v1"


def main() -> None:
    with Upstream.start(components=("etcd", "kube-apiserver")) as upstream:
        objects = [item for kind in KINDS for item in read(upstream, kind)]
    head = (
        f"# Written by tools/compile_bootstrap_policy.py from kube-apiserver {VERSION}; bootstrap_policy.py reads it.\n"
    )
    TARGET.write_text(head + "".join(text(item) for item in objects))
    print(f"{len(objects)} objects")


KINDS = {
    "clusterroles": "ClusterRole",
    "clusterrolebindings": "ClusterRoleBinding",
    "roles": "Role",
    "rolebindings": "RoleBinding",
}


def read(upstream: Upstream, plural: str) -> list[JsonObject]:
    listed = Client(upstream.kubeconfig).request("GET", f"{API}/{plural}")
    found = [{**item, "kind": KINDS[plural]} for item in listed["items"]]
    return sorted(found, key=lambda item: (item["metadata"].get("namespace", ""), item["metadata"]["name"]))


def text(item: JsonObject) -> str:
    meta = item["metadata"]
    name = "/".join(filter(None, (meta.get("namespace"), meta["name"])))
    assert meta["annotations"] == {"rbac.authorization.kubernetes.io/autoupdate": "true"}, name
    labels = dict(meta["labels"])
    assert labels.pop("kubernetes.io/bootstrapping") == "rbac-defaults", name
    words = [item["kind"], name]
    for label in labels:
        assert label.startswith(PREFIX), name
        words.append(f"to={label.removeprefix(PREFIX)}")
    for selector in (item.get("aggregationRule") or {}).get("clusterRoleSelectors", ()):
        (label,) = selector["matchLabels"]
        words.append(f"from={label.removeprefix(PREFIX)}")
    if "roleRef" in item:
        words += ["=", item["roleRef"]["kind"], item["roleRef"]["name"], ":"]
        words += [word for subject in item.get("subjects") or () for word in subject_words(subject)]
    return "\n".join((" ".join(words), *rules(item))) + "\n"


def subject_words(subject: JsonObject) -> Iterator[str]:
    yield subject["kind"]
    yield "/".join(filter(None, (subject.get("namespace"), subject["name"])))


def rules(item: JsonObject) -> Iterator[str]:
    for rule in item.get("rules") or ():
        parts = [rule["verbs"]]
        if "nonResourceURLs" in rule:
            parts.append(rule["nonResourceURLs"])
        else:
            parts += [[group or "core" for group in rule["apiGroups"]], rule["resources"]]
            parts += [rule["resourceNames"]] if "resourceNames" in rule else []
        yield "  " + " ".join(",".join(part) for part in parts)


if __name__ == "__main__":
    main()
