"""The arithmetic of rollouts, against values that upstream's own tables give."""

from __future__ import annotations

import pytest

from seatrial.control.rollout import Bounds, Sizes, bounds, new_size, old_sizes, proportional


@pytest.mark.parametrize(
    ("replicas", "surge", "unavailable", "expected"),
    [
        (10, "25%", "25%", (3, 2)),
        (3, "25%", "25%", (1, 0)),
        (1, "25%", "25%", (1, 0)),
        (10, 0, 0, (0, 1)),
        (1, "0%", "10%", (0, 1)),
        (2, 0, 5, (0, 2)),
        (0, "25%", "25%", (0, 0)),
        (200, "0.2", "1%", (0, 2)),
    ],
)
def test_surge_rounds_up_and_unavailability_down_and_one_of_them_moves(
    replicas: int, surge: int | str, unavailable: int | str, expected: tuple[int, int]
) -> None:
    limits = bounds(replicas, surge, unavailable)
    assert (limits.max_surge, limits.max_unavailable) == expected


@pytest.mark.parametrize(("new", "total", "expected"), [(0, 10, 2), (0, 12, 0), (6, 10, 8), (9, 9, 10), (0, 0, 10)])
def test_the_new_replica_set_grows_up_to_the_surge(new: int, total: int, expected: int) -> None:
    assert new_size(Bounds(10, 2, 0), new, total) == expected


@pytest.mark.parametrize(
    ("old", "ready_old", "new", "ready_new", "unavailable", "expected"),
    [
        # upstream: TestDeploymentController_reconcileOldReplicaSets
        (10, 10, 0, 0, 0, None),
        (10, 10, 0, 0, 2, 8),
        (10, 8, 0, 0, 2, 8),
        (10, 9, 0, 0, 2, 8),
        (8, 8, 2, 0, 2, None),
    ],
)
def test_old_replica_sets_shrink_no_further_than_availability_allows(
    old: int, ready_old: int, new: int, ready_new: int, unavailable: int, expected: int | None
) -> None:
    result = old_sizes(Bounds(10, 0, unavailable), [Sizes("old", old, ready_old)], Sizes("new", new, ready_new))
    assert result == ({} if expected is None else {"old": expected})


def test_unhealthy_replicas_go_first_though_they_are_younger() -> None:
    old = [Sizes("healthy", 5, 5), Sizes("broken", 5, 0)]
    assert old_sizes(Bounds(5, 5, 0), old, Sizes("new", 0, 0)) == {"broken": 0}


@pytest.mark.parametrize(
    ("replicas", "sizes", "expected"),
    [
        # upstream: TestScale, maxSurge 0, sizes oldest first, max-replicas annotation as before the change
        (10, [(8, 10), (2, 10)], [8, 2]),
        (12, [(5, 10), (5, 10)], [6, 6]),
        (20, [(5, 10), (2, 10), (3, 10)], [10, 4, 6]),
        (6, [(2, 4), (2, 4)], [3, 3]),
        (0, [(5, 10), (5, 10)], [0, 0]),
        (8, [(2, 10), (3, 10), (5, 10)], [2, 2, 4]),
        (50, [(1, 3), (2, 3)], [17, 33]),
    ],
)
def test_a_change_of_size_in_mid_rollout_is_shared_in_proportion(
    replicas: int, sizes: list[tuple[int, int]], expected: list[int]
) -> None:
    sets = [Sizes(str(index), size, size, before) for index, (size, before) in enumerate(sizes)]
    shared = proportional(Bounds(replicas, 0, 0), sets, status_replicas=sum(size for size, _ in sizes))
    assert [shared[str(index)] for index in range(len(sizes))] == expected
