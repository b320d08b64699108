"""What the admission of ServiceAccounts makes of a new pod."""

from __future__ import annotations

from typing import Any

import pytest

from seatrial.control import podaccount
from seatrial.kube.objects import JsonObject, ServiceAccount, parse_as

MOUNT = {"name": "kube-api-access-abcde", "mountPath": podaccount.MOUNT_PATH, "readOnly": True}


def pod(annotations: dict[str, str] | None = None, **spec: Any) -> JsonObject:
    containers = [{"name": "a", "image": "i"}, {"name": "b", "image": "i"}]
    metadata = {"name": "p", "namespace": "shop", "annotations": annotations or {}}
    return {"metadata": metadata, "spec": {"containers": containers, **spec}}


def account(name: str = "default", annotations: dict[str, str] | None = None, **fields: Any) -> ServiceAccount:
    metadata = {"name": name, "namespace": "shop", "annotations": annotations or {}}
    return parse_as(ServiceAccount, {"metadata": metadata, **fields})


def admitted(raw: JsonObject, of: ServiceAccount | None) -> JsonObject:
    spec: JsonObject = podaccount.admit(raw, of, lambda: "abcde")["spec"]
    return spec


def test_a_pod_has_the_default_account_and_its_token_in_each_container() -> None:
    spec = admitted(pod(initContainers=[{"name": "first", "image": "i"}]), account())
    assert spec["serviceAccountName"] == spec["serviceAccount"] == "default"
    assert [each["volumeMounts"] for each in (*spec["initContainers"], *spec["containers"])] == [[MOUNT]] * 3
    (volume,) = spec["volumes"]
    assert volume == {
        "name": "kube-api-access-abcde",
        "projected": {
            "defaultMode": 420,
            "sources": [
                {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
                {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
                {
                    "downwardAPI": {
                        "items": [
                            {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}
                        ]
                    }
                },
            ],
        },
    }


def test_the_account_must_be_there() -> None:
    why = 'error looking up service account shop/robot: serviceaccount "robot" not found'
    with pytest.raises(podaccount.RefusedError) as refused:
        admitted(pod(serviceAccountName="robot"), None)
    assert str(refused.value) == why


@pytest.mark.parametrize(
    ("of_pod", "of_account", "mounted"),
    [(None, None, True), (None, False, False), (True, False, True), (False, None, False), (False, True, False)],
)
def test_the_pod_then_its_account_says_whether_a_token_is_mounted(
    of_pod: bool | None, of_account: bool | None, mounted: bool
) -> None:
    raw = pod() if of_pod is None else pod(automountServiceAccountToken=of_pod)
    of = account() if of_account is None else account(automountServiceAccountToken=of_account)
    assert ("volumes" in admitted(raw, of)) is mounted


def test_what_a_container_mounts_there_itself_stays() -> None:
    own = {"name": "mine", "mountPath": podaccount.MOUNT_PATH}
    containers = [{"name": "a", "image": "i", "volumeMounts": [own]}, {"name": "b", "image": "i"}]
    spec = admitted(pod(containers=containers, volumes=[{"name": "mine", "emptyDir": {}}]), account())
    assert [each["volumeMounts"] for each in spec["containers"]] == [[own], [MOUNT]]
    assert [each["name"] for each in spec["volumes"]] == ["mine", "kube-api-access-abcde"]
    alone = admitted(pod(containers=containers[:1]), account())
    assert "volumes" not in alone


def test_a_token_volume_that_is_there_is_used() -> None:
    given = {"name": "kube-api-access-own", "projected": {"sources": []}}
    spec = admitted(pod(volumes=[given]), account())
    assert spec["volumes"] == [given]
    assert spec["containers"][0]["volumeMounts"][0]["name"] == "kube-api-access-own"


def test_pull_secrets_are_the_accounts_unless_the_pod_has_some() -> None:
    of = account(imagePullSecrets=[{"name": "registry"}])
    assert admitted(pod(), of)["imagePullSecrets"] == [{"name": "registry"}]
    assert admitted(pod(imagePullSecrets=[{"name": "own"}]), of)["imagePullSecrets"] == [{"name": "own"}]


def test_an_account_may_insist_on_its_secrets() -> None:
    of = account(annotations={"kubernetes.io/enforce-mountable-secrets": "true"}, secrets=[{"name": "known"}])
    volume = {"name": "v", "secret": {"secretName": "known"}}
    admitted(pod(volumes=[volume]), of)
    with pytest.raises(podaccount.RefusedError, match=r'volume with secret.secretName="other" is not allowed because'):
        admitted(pod(volumes=[{"name": "v", "secret": {"secretName": "other"}}]), of)
    variable = {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "other", "key": "k"}}}
    why = 'container a with envVar KEY referencing secret.secretName="other" is not allowed'
    with pytest.raises(podaccount.RefusedError, match=why):
        admitted(pod(containers=[{"name": "a", "image": "i", "env": [variable]}]), of)


def test_a_mirror_pod_stays_as_its_node_wrote_it() -> None:
    mirror = {"kubernetes.io/config.mirror": "hash"}
    raw = pod(mirror)
    assert podaccount.admit(raw, None, lambda: "abcde") == raw
    with pytest.raises(podaccount.RefusedError, match="a mirror pod may not reference service accounts"):
        admitted(pod(mirror, serviceAccountName="robot"), None)
    with pytest.raises(podaccount.RefusedError, match="a mirror pod may not reference secrets"):
        admitted(pod(mirror, volumes=[{"name": "v", "secret": {"secretName": "s"}}]), None)
