"""`seatrial kubeconfig`: the path of the embedded cluster's kubeconfig."""

from __future__ import annotations

import argparse

from seatrial.cli import state

SUMMARY = "print the path of the embedded cluster's kubeconfig"
EXAMPLES = """\
examples:
  export KUBECONFIG=$(seatrial kubeconfig) && kubectl get pods
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    state.add_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    kubeconfig = state.running(arguments)
    if kubeconfig is None:
        return 1
    print(kubeconfig)
    return 0
