"""The socket rim, spoken to in plain HTTP/1.1 over TLS."""

import asyncio
import ssl

import pytest

from seatrial.server.api import Api
from seatrial.server.http import serve
from seatrial.server.pki import Pki
from seatrial.server.store import Store


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki.ensure(tmp_path_factory.mktemp("pki"))


def ask(pki: Pki, request: bytes, *, certificate: bool = True) -> str:
    """The raw answer to one request on a connection of its own."""

    async def talk() -> str:
        api = Api(Store.open(":memory:"), disabled_plugins=("ServiceAccount",))
        async with serve(api, "127.0.0.1", 0, pki) as port:
            context = pki.client_context() if certificate else ssl.create_default_context(cafile=str(pki.ca))
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
            writer.write(request)
            answer = await reader.read()
            writer.close()
            return answer.decode()

    return asyncio.run(talk())


def get(path: str, *headers: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", "host: x", "connection: close", *headers, "", ""]).encode()


def test_without_a_certificate_only_health_and_version_are_open(pki: Pki) -> None:
    assert " 200 " in ask(pki, get("/healthz"), certificate=False)
    refused = ask(pki, get("/api/v1/pods"), certificate=False)
    assert " 403 " in refused
    assert r"User \"system:anonymous\" cannot list resource \"pods\" in API group \"\" at the cluster scope" in refused


def test_a_watch_list_ends_its_initial_events_with_a_marked_bookmark(pki: Pki) -> None:
    path = "/api/v1/namespaces?watch=true&allowWatchBookmarks=true&sendInitialEvents=true"
    answer = ask(pki, get(path + "&resourceVersionMatch=NotOlderThan&timeoutSeconds=1"))
    assert answer.count('"ADDED"') == 4
    assert '"k8s.io/initial-events-end":"true"' in answer


def test_a_body_over_three_mebibytes_is_refused_before_it_is_read(pki: Pki) -> None:
    request = b"POST /api/v1/namespaces HTTP/1.1\r\nhost: x\r\ncontent-length: 4000000\r\n\r\n"
    assert " 413 " in ask(pki, request)


@pytest.mark.parametrize(("accept", "code"), [("text/html", 406), ("application/vnd.kubernetes.protobuf,*/*", 200)])
def test_what_is_accepted_is_negotiated(pki: Pki, accept: str, code: int) -> None:
    assert f" {code} " in ask(pki, get("/api/v1/namespaces", f"accept: {accept}"))
