"""`seatrial status`: nodes, Deployments and what the pods that are not ready wait for."""

from __future__ import annotations

import argparse

from seatrial.cli import state

SUMMARY = "show the embedded cluster's nodes, Deployments and the pods that are not ready"
EXAMPLES = """\
examples:
  seatrial status
  seatrial status --output json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--output", choices=("text", "json"), default="text", help="for people or for machines (text)")
    state.add_argument(parser)


@state.reaching
def run(arguments: argparse.Namespace) -> int:
    from seatrial.deploy.client import Client
    from seatrial.deploy.wait import rollout, why_not_ready

    kubeconfig = state.running(arguments)
    if kubeconfig is None:
        return 1
    client = Client(kubeconfig)
    nodes = [node["metadata"]["name"] for node in client.request("GET", "/api/v1/nodes")["items"]]
    deployments = {_name(raw): rollout(raw)[0] for raw in client.request("GET", "/apis/apps/v1/deployments")["items"]}
    pods = {_name(raw): why_not_ready(raw) for raw in client.request("GET", "/api/v1/pods")["items"]}
    if arguments.output == "json":
        import json

        print(json.dumps({"server": client.server, "nodes": nodes, "deployments": deployments, "pods": pods}, indent=2))
        return 0
    print(f"API    {client.server}\nnodes  {', '.join(nodes)}")
    for name, missing in deployments.items():
        print(f"Deployment {name}: {missing or 'up'}")
    for name, reason in pods.items():
        if reason:
            print(f"  Pod {name}: {reason}")
    return 0


def _name(raw: dict[str, dict[str, str]]) -> str:
    return f"{raw['metadata']['namespace']}/{raw['metadata']['name']}"
