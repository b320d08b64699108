"""Rows of `kubectl get`."""

from datetime import UTC, datetime, timedelta

import pytest

from seatrial.kube import tables
from seatrial.kube.columns import cells

NOW = datetime(2026, 1, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (119, "119s"), (125, "2m5s"), (3600, "60m"), (4 * 3600, "4h"), (50 * 3600, "2d2h"), (86400 * 9, "9d")],
)
def test_ages_are_upstreams(seconds: int, text: str) -> None:
    assert cells.age((NOW - timedelta(seconds=seconds)).isoformat(), NOW) == text


def test_a_waiting_container_gives_its_reason_and_a_deleted_pod_is_terminating() -> None:
    status = {
        "phase": "Running",
        "containerStatuses": [
            {"name": "c", "restartCount": 2, "ready": False, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}
        ],
    }
    pod = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c"}]}, "status": status}
    assert tables.table("Pod", [pod], NOW)["rows"][0]["cells"][:4] == ["p", "0/1", "CrashLoopBackOff", "2"]
    deleted = {**pod, "metadata": {"name": "p", "deletionTimestamp": "2026-01-01T00:00:00Z"}}
    assert tables.table("Pod", [deleted], NOW)["rows"][0]["cells"][2] == "Terminating"
