"""`seatrial logs`: what the containers of a Deployment's pods, or of one pod, have written."""

from __future__ import annotations

import argparse
import sys

from seatrial.cli import state

SUMMARY = "print the logs of the pods whose name is NAME or begins with NAME-"
EXAMPLES = """\
examples:
  seatrial logs web                 every pod of Deployment web
  seatrial logs web --tail 20
  seatrial logs web -n shop
(kubectl logs follows one: kubectl logs -f deployment/web)
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="a pod or a Deployment")
    parser.add_argument("-n", "--namespace", default="default", help="its namespace (default)")
    parser.add_argument("--tail", type=int, metavar="LINES", help="only the last lines of each container")
    state.add_argument(parser)


@state.reaching
def run(arguments: argparse.Namespace) -> int:
    from seatrial.deploy.client import ApiError, Client

    kubeconfig = state.running(arguments)
    if kubeconfig is None:
        return 1
    client = Client(kubeconfig)
    root = f"/api/v1/namespaces/{arguments.namespace}/pods"
    pods = client.request("GET", root)["items"]
    names = [pod["metadata"]["name"] for pod in pods]
    chosen = [pod for pod, name in zip(pods, names, strict=True) if f"{name}-".startswith(f"{arguments.name}-")]
    if not chosen:
        there = ", ".join(names) or "none"
        print(f"seatrial: no pod {arguments.name} in namespace {arguments.namespace}; pods: {there}", file=sys.stderr)
        return 1
    tail = f"&tailLines={arguments.tail}" if arguments.tail is not None else ""
    for pod in chosen:
        for container in pod["spec"]["containers"]:
            name = pod["metadata"]["name"]
            print(f"==> {name} {container['name']} <==")
            try:
                print(client.request("GET", f"{root}/{name}/log?container={container['name']}{tail}"), end="")
            except ApiError as error:
                print(f"seatrial: {error}", file=sys.stderr)
    return 0
