"""The append-only store."""

from pathlib import Path

import pytest

from seatrial.kube.objects import JsonObject
from seatrial.server.store import Store, StoreError


def raw(name: str, value: str = "") -> JsonObject:
    return {"metadata": {"name": name}, "value": value}


def test_what_was_written_is_there_after_opening_again(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "x.db")
    store.put("/r", "", "a", raw("a"))
    store.put("/r", "", "b", raw("b"))
    store.remove("/r", "", "b")
    store.close()
    again = Store.open(tmp_path / "x.db")
    assert [name for _, name in again.all("/r")] == ["a"]
    assert again.revision == 3
    again.close()


def test_the_past_is_known_within_the_window_only() -> None:
    store = Store.open(":memory:", window=2)
    for value in "xyz":
        store.put("/r", "", "a", raw("a", value))
    then = store.at("/r", 2)
    assert then is not None
    assert then["", "a"].raw["value"] == "y"
    assert store.at("/r", 0) is None
    store.close()


def test_a_file_that_is_no_database_is_explained(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    path.write_bytes(b"nonsense" * 1000)
    with pytest.raises(StoreError, match="cannot open the cluster's database"):
        Store.open(path)
