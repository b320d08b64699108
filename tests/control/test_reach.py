"""Which endpoints a Service's addresses lead to."""

from __future__ import annotations

from typing import Any

from seatrial.control.reach import Backend, ServiceRule, host_port_rules, service_rules
from seatrial.kube.objects import EndpointSlice, Pod, Service, parse_as


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


def with_ports(name: str, *ports: dict[str, Any], phase: str = "Running", **spec: Any) -> Pod:
    containers = [{"name": "web", "ports": list(ports)}]
    status = {"podIP": f"10.0.0.{len(name)}", "phase": phase}
    return parse_as(
        Pod,
        {"metadata": {"name": name, "namespace": "shop"}, "spec": {"containers": containers, **spec}, "status": status},
    )


def test_a_host_port_leads_to_its_pod_and_belongs_to_one() -> None:
    http = {"name": "http", "containerPort": 8080, "hostPort": 80}
    own = {"containerPort": 53, "hostPort": 53, "protocol": "UDP", "hostIP": "192.0.2.1"}
    taken = ServiceRule("shop/web", "", "TCP", (), 80, 30080, ())
    pods = [
        with_ports("b", http),
        with_ports("a", http, own, {"containerPort": 1}),
        with_ports("over", {"containerPort": 1, "hostPort": 81}, phase="Failed"),
        with_ports("outside", {"containerPort": 82, "hostPort": 82}, hostNetwork=True),
        with_ports("late", {"containerPort": 83, "hostPort": 30080}),
    ]
    assert host_port_rules(pods, [taken]) == (
        ServiceRule("shop/a", "http", "TCP", (), 80, 80, (Backend("10.0.0.1", 8080),)),
        ServiceRule("shop/a", "", "UDP", ("192.0.2.1",), 53, 0, (Backend("10.0.0.1", 53),)),
    )
