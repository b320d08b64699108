"""Which endpoints a Service's addresses lead to."""

from __future__ import annotations

from typing import Any

from seatrial.control.reach import Backend, service_rules
from seatrial.kube.objects import EndpointSlice, Service, parse_as


def service(**spec: Any) -> Service:
    fields = {"clusterIP": "10.9.0.1", "ports": [{"name": "http", "port": 80, "protocol": "TCP"}], **spec}
    return parse_as(Service, {"metadata": {"name": "web", "namespace": "shop"}, "spec": fields})


def endpoints(*conditions: dict[str, bool]) -> EndpointSlice:
    return parse_as(
        EndpointSlice,
        {
            "metadata": {"name": "w", "namespace": "shop", "labels": {"kubernetes.io/service-name": "web"}},
            "addressType": "IPv4",
            "endpoints": [
                {"addresses": [f"10.1.0.{number}"], "conditions": each} for number, each in enumerate(conditions)
            ],
            "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        },
    )


def test_ready_endpoints_are_the_backends() -> None:
    (rule,) = service_rules([service()], [endpoints({"ready": True}, {"ready": False})])
    assert rule.backends == (Backend("10.1.0.0", 8080),)


def test_serving_endpoints_that_terminate_stand_in_when_none_is_ready() -> None:
    leaving = {"ready": False, "serving": True, "terminating": True}
    (rule,) = service_rules([service()], [endpoints({"ready": False}, leaving)])
    assert rule.backends == (Backend("10.1.0.1", 8080),)


def test_a_service_without_endpoints_keeps_its_rule_so_that_connections_are_rejected() -> None:
    (rule,) = service_rules([service()], [])
    assert rule.backends == ()


def test_headless_and_external_services_have_no_rules() -> None:
    assert service_rules([service(clusterIP="None"), service(type="ExternalName")], []) == ()
