"""Unmodified clients against the cluster of the pytest fixture: what they do on any Kubernetes cluster they do here."""

from __future__ import annotations

import asyncio
from typing import Any

import kr8s
import kubernetes
import kubernetes.watch
import lightkube
import pytest
from lightkube.models.core_v1 import Container as LightContainer
from lightkube.models.core_v1 import PodSpec as LightPodSpec
from lightkube.models.meta_v1 import ObjectMeta as LightMeta
from lightkube.resources.apps_v1 import Deployment as LightDeployment
from lightkube.resources.core_v1 import ConfigMap as LightConfigMap
from lightkube.resources.core_v1 import Pod as LightPod

from seatrial.testing import Cluster

WEB: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web", "namespace": "default"},
    "spec": {
        "replicas": 2,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "web", "image": "web:1"}]},
        },
    },
}


def test_the_official_client_creates_watches_scales_and_deletes(seatrial_cluster: Cluster) -> None:
    official: Any = kubernetes  # its types are not those of what it takes and gives
    api = official.config.new_client_from_config(str(seatrial_cluster.kubeconfig))
    apps, core = official.client.AppsV1Api(api), official.client.CoreV1Api(api)
    apps.create_namespaced_deployment("default", WEB)
    assert seatrial_cluster.settle()
    assert apps.read_namespaced_deployment("web", "default").status.available_replicas == 2

    apps.patch_namespaced_deployment_scale("web", "default", {"spec": {"replicas": 3}})
    seen = core.list_namespaced_pod("default").metadata.resource_version
    assert seatrial_cluster.settle()
    stream = official.watch.Watch().stream
    watching = stream(core.list_namespaced_pod, "default", resource_version=seen, timeout_seconds=1)
    phases = {event["object"].metadata.name: event["object"].status.phase for event in watching}
    assert list(phases.values()) == ["Running"], "one pod came, and runs"

    apps.delete_namespaced_deployment("web", "default")
    assert seatrial_cluster.settle()
    assert core.list_namespaced_pod("default").items == []
    with pytest.raises(official.client.ApiException) as refused:
        apps.read_namespaced_deployment("web", "default")
    assert refused.value.status == 404
    api.close()


def test_the_official_client_as_a_service_account_may_do_what_its_roles_say(seatrial_cluster: Cluster) -> None:
    official: Any = kubernetes
    admin = official.config.new_client_from_config(str(seatrial_cluster.kubeconfig))
    client = official.client
    core, rbac = client.CoreV1Api(admin), client.RbacAuthorizationV1Api(admin)
    core.create_namespaced_service_account("default", {"metadata": {"name": "operator"}})
    rules = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list"]}]
    rbac.create_namespaced_role("default", {"metadata": {"name": "reads"}, "rules": rules})
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reads"}
    subject = {"kind": "ServiceAccount", "name": "operator", "namespace": "default"}
    rbac.create_namespaced_role_binding(
        "default", {"metadata": {"name": "b"}, "roleRef": reference, "subjects": [subject]}
    )
    asked = client.AuthenticationV1TokenRequest(spec=client.V1TokenRequestSpec(audiences=[]))
    issued = core.create_namespaced_service_account_token("operator", "default", asked)

    own = client.Configuration()
    own.host, own.ssl_ca_cert = admin.configuration.host, admin.configuration.ssl_ca_cert
    own.api_key, own.api_key_prefix = {"authorization": issued.status.token}, {"authorization": "Bearer"}
    with client.ApiClient(own) as bearer:
        mine = client.CoreV1Api(bearer)
        found = mine.list_namespaced_config_map("default").items
        assert [each.metadata.name for each in found] == ["kube-root-ca.crt"]
        with pytest.raises(client.ApiException) as refused:
            mine.list_namespaced_secret("default")
        assert refused.value.status == 403
        seatrial_cluster.delete("v1", "ServiceAccount", "operator")
        with pytest.raises(client.ApiException) as refused:
            mine.list_namespaced_config_map("default")
        assert refused.value.status == 401
    admin.close()


@pytest.mark.seatrial(version="1.35")  # the newest that kr8s knows of
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # kr8s leaves its connection to the garbage collector
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_kr8s_waits_for_a_pod_while_time_flows(seatrial_cluster: Cluster) -> None:
    async def story() -> None:
        api = await kr8s.asyncio.api(kubeconfig=str(seatrial_cluster.kubeconfig))
        pod = await kr8s.asyncio.objects.Pod(
            {"metadata": {"name": "one"}, "spec": {"containers": [{"name": "c", "image": "c:1"}]}}, api=api
        )
        await pod.create()
        await pod.wait("condition=Ready", timeout=20)
        found: Any = [each async for each in api.get("pods", namespace="default")]
        assert [each.name for each in found] == ["one"]
        await pod.delete()

    with seatrial_cluster.flowing():
        asyncio.run(story())


def test_lightkube_reads_what_it_wrote(seatrial_cluster: Cluster) -> None:
    config = lightkube.KubeConfig.from_file(seatrial_cluster.kubeconfig)
    light = lightkube.Client(config=config)
    light.create(LightConfigMap(metadata=LightMeta(name="settings", namespace="default"), data={"a": "1"}))
    light.patch(LightConfigMap, "settings", {"data": {"b": "2"}}, namespace="default")
    assert light.get(LightConfigMap, "settings", namespace="default").data == {"a": "1", "b": "2"}
    spec = LightPodSpec(containers=[LightContainer(name="c", image="c:1")])
    light.create(LightPod(metadata=LightMeta(name="one", namespace="default", labels={"x": "y"}), spec=spec))
    seatrial_cluster.advance(60)
    (pod,) = light.list(LightPod, namespace="default", labels={"x": "y"})
    assert pod.status is not None
    assert pod.status.phase == "Running"
    assert list(light.list(LightDeployment, namespace="default")) == []
    light._client._client.close()
