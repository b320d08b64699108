"""The Service `kubernetes`, by which pods reach the API: its addresses are the API server's own, no controller's."""

from __future__ import annotations

from seatrial.kube.objects import JsonObject
from seatrial.server.api import Api
from seatrial.server.resources import storage_key

NAME = "kubernetes"


def publish(api: Api, address: str, port: int) -> None:
    """Make the Service lead to the API, which listens at `address` and `port`."""
    ports = [{"name": "https", "port": port, "protocol": "TCP"}]
    not_mirrored = {"endpointslice.kubernetes.io/skip-mirror": "true"}
    _write(
        api,
        "v1",
        "Endpoints",
        {"metadata": {"labels": not_mirrored}, "subsets": [{"addresses": [{"ip": address}], "ports": ports}]},
    )
    _write(
        api,
        "discovery.k8s.io/v1",
        "EndpointSlice",
        {
            "metadata": {"labels": {"kubernetes.io/service-name": NAME}},
            "addressType": "IPv4",
            "endpoints": [{"addresses": [address], "conditions": {"ready": True}}],
            "ports": ports,
        },
    )
    of_service = [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": port}]
    _write(api, "v1", "Service", {"spec": {"ports": of_service}})


def _write(api: Api, api_version: str, kind: str, wanted: JsonObject) -> None:
    resource = api.kind(api_version, kind)
    if api.store.get(storage_key(resource), "default", NAME) is None:
        metadata = {**wanted.get("metadata", {}), "name": NAME}
        api.create(resource, "default", {**wanted, "metadata": metadata})
    else:
        api.patch(resource, "default", NAME, wanted)
