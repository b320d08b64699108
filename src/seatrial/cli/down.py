"""`seatrial down`: stop the embedded cluster and remove all it put into this machine."""

from __future__ import annotations

import argparse
import contextlib
import shutil

from seatrial.cli import state

SUMMARY = "stop the embedded cluster: its containers, network, mounts and objects; built images stay"
EXAMPLES = """\
examples:
  seatrial down
  seatrial down --images            forget the images too
  seatrial down --state /tmp/trial
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--images", action="store_true", help="remove the image store as well")
    state.add_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    from seatrial.cluster import process
    from seatrial.node.linux import cleanup

    directory = state.directory(arguments)
    ran = process.pid(directory) is not None
    process.shut_down(directory)
    process.stop(directory)
    if not directory.exists():
        print(f"nothing to stop: there is no {directory}")
        return 0
    cleanup(directory)
    shutil.rmtree(directory / "cluster", ignore_errors=True)
    shutil.rmtree(directory / "volumes", ignore_errors=True)
    if arguments.images:
        shutil.rmtree(directory / "images", ignore_errors=True)
    with contextlib.suppress(OSError):  # not empty, or a mount point: then it is not ours to remove
        directory.rmdir()
    print("stopped" if ran else "no cluster was running; what one had left is removed")
    return 0
