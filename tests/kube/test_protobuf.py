"""Protobuf bodies as typed Go clients send them."""

import contextlib

import pytest

from seatrial.kube import protobuf


def field(number: int, value: bytes | int) -> bytes:
    if isinstance(value, int):
        return bytes([number << 3, value])
    return bytes([number << 3 | 2, len(value)]) + value


def body(api_version: str, kind: str, raw: bytes) -> bytes:
    meta = field(1, api_version.encode()) + field(2, kind.encode())
    return protobuf.MAGIC + field(1, meta) + field(2, raw)


def test_maps_embedded_structs_and_zero_pointers_become_their_json() -> None:
    entry = field(1, b"k") + field(2, b"v")
    secret = field(1, field(1, b"s")) + field(2, entry) + field(3, b"Opaque")
    assert protobuf.decode(body("v1", "Secret", secret)) == {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "s"},
        "data": {"k": "dg=="},
        "type": "Opaque",
    }
    deployment = field(2, field(1, 0) + field(5, 0))
    assert protobuf.decode(body("apps/v1", "Deployment", deployment))["spec"] == {"replicas": 0}
    volume = field(1, b"v") + field(2, field(2, b""))
    pod = protobuf.decode(body("v1", "Pod", field(2, field(1, volume))))
    assert pod["spec"]["volumes"] == [{"name": "v", "emptyDir": {}}]


@pytest.mark.parametrize("cut", range(5, 30))
def test_a_cut_off_body_is_an_error_never_a_crash(cut: int) -> None:
    whole = body("v1", "Secret", field(1, field(1, b"s")))
    with contextlib.suppress(protobuf.ProtobufError):
        protobuf.decode(whole[:cut])
