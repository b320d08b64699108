"""The append-only store."""

import sqlite3
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


def test_old_revisions_leave_the_disk_and_what_is_current_stays(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "x.db", window=10)
    for number in range(100):
        store.put("/things", "", "counted", {"metadata": {"name": "counted"}, "n": number})
        store.put("/things", "", f"short-{number}", {"metadata": {"name": f"short-{number}"}})
        store.remove("/things", "", f"short-{number}")
    store.close()
    with sqlite3.connect(tmp_path / "x.db") as database:
        (rows,) = database.execute("SELECT count(*) FROM changes").fetchone()
    database.close()
    assert rows <= 30
    again = Store.open(tmp_path / "x.db")
    assert {name: stored.raw.get("n") for (_, name), stored in again.all("/things").items()} == {"counted": 99}
    assert again.revision == 300
    again.close()
