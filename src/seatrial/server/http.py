"""The socket rim: HTTP/1.1 over TLS (h11 does the protocol), one task per connection, `Api` does the work.

Answers to writes are sent after the commit of the event-loop tick they were made in. A client certificate or a service
account's token says who asks; what he may is decided before anything else is looked at.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gzip
import re
import ssl
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import h11
import msgspec

from seatrial.control.access import NOBODY, User
from seatrial.kube import protobuf, retired, tables
from seatrial.kube.objects import JsonObject
from seatrial.kube.schemas import Resource
from seatrial.server import (
    accounts,
    authentication,
    authorisation,
    bodies,
    discovery,
    errors,
    evictions,
    measured,
    openapi_v2,
    reviews,
)
from seatrial.server.api import Api
from seatrial.server.errors import StatusError
from seatrial.server.pki import Pki
from seatrial.server.requests import APPLY_PATCH, DeleteOptions, Filter, LogQuery, Options
from seatrial.server.store import StoreError
from seatrial.server.watches import Watch, WatchEvent

MAX_BODY_BYTES = 3 * 1024 * 1024
GZIP_FROM_BYTES = 128 * 1024
BOOKMARK_EVERY_S = 60.0
WATCH_S = 2700.0  # upstream picks 30 to 60 minutes at random
IDLE_S = 120.0
SEND_S = 30.0
_CREATED_ONLY = ("binding", "eviction", "token")
_GO_CLIENTLESS = ("curl", "Wget", "Mozilla")


class ServeError(Exception):
    """The server cannot listen; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes
    user: User = NOBODY
    """Who asks, once that is known."""

    def value(self, name: str, default: str = "") -> str:
        return self.query.get(name, [default])[0]

    def flag(self, name: str) -> bool:
        return self.value(name).lower() in ("true", "1")

    def number(self, name: str) -> int | None:
        text = self.value(name)
        if not text:
            return None
        if not re.fullmatch(r"-?\d+", text):
            raise errors.bad_request(f"the query parameter {name}={text} is not a number")
        return int(text)


@dataclass(slots=True)
class Response:
    """`stream` is sent in chunks instead of `body` when it is set; `close` is called when nobody reads it any more."""

    status: int = 200
    body: bytes = b""
    content_type: str = "application/json"
    headers: list[tuple[str, str]] = field(default_factory=list)
    stream: AsyncIterator[bytes] | None = None
    close: Callable[[], object] = lambda: None


@dataclass(frozen=True, slots=True)
class Target:
    """What a path names."""

    resource: Resource
    namespace: str
    name: str
    subresource: str


@asynccontextmanager
async def serve(api: Api, host: str, port: int, pki: Pki, *, also: Sequence[str] = ()) -> AsyncIterator[int]:
    """Serve while the context is open; gives the port (for `port` 0 a free one). Raises `ServeError`.

    `also` are further addresses, on which the port is the same.
    """
    loop = asyncio.get_running_loop()
    connections: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections.add(task)
        try:
            await _Connection(api, reader, writer).run()
        except (OSError, TimeoutError, asyncio.CancelledError, h11.RemoteProtocolError):
            pass  # the client went away or the server is closing: there is nobody to tell
        finally:
            connections.discard(task)
            writer.transport.abort()

    context = pki.server_context()
    servers: list[asyncio.Server] = []
    for address in (host, *also):
        try:
            server = await asyncio.start_server(
                connected, address, port, ssl=context, ssl_handshake_timeout=10, backlog=256
            )
        except OSError as error:
            for other in servers:
                other.close()
            if error.errno == errno.EADDRINUSE:
                raise ServeError(
                    f"port {port} on {address} is in use: another cluster or program listens there. Find it with "
                    f"`ss -ltnp 'sport = :{port}'`, stop it, or choose another port."
                ) from error
            raise ServeError(f"cannot listen on {address}:{port}: {error.strerror or error}") from error
        servers.append(server)
        port = server.sockets[0].getsockname()[1]

    def commit_soon() -> None:
        loop.call_soon(api.store.commit)

    api.store.on_pending = commit_soon
    try:
        yield port
    finally:
        for server in servers:
            server.close()
        for task in tuple(connections):
            task.cancel()
        if connections:
            await asyncio.wait(connections)
        api.store.on_pending = None
        api.store.commit()


class _Connection:
    """One client connection: requests in turn until one side closes."""

    def __init__(self, api: Api, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._handler = Handler(api)
        self._reader = reader
        self._writer = writer
        self._protocol = h11.Connection(h11.SERVER, max_incomplete_event_size=64 * 1024)
        tls: ssl.SSLObject | None = writer.get_extra_info("ssl_object")
        self._shown = authentication.of_certificate(tls)

    async def run(self) -> None:
        while True:
            event = await self._next()
            if not isinstance(event, h11.Request):
                return
            pairs = [(key.decode("latin-1"), value.decode("latin-1")) for key, value in event.headers]
            headers = dict(pairs)
            if self._protocol.they_are_waiting_for_100_continue:
                await self._send(h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue"))
            body, too_large = await self._body(headers)
            target = urlsplit(event.target.decode("latin-1"))
            query = parse_qs(target.query, keep_blank_values=True)
            request = Request(event.method.decode(), target.path, query, headers, body)
            if too_large:
                response = _refused(
                    errors.failure(413, "RequestEntityTooLarge", f"Request entity too large: limit is {MAX_BODY_BYTES}")
                )
                response.headers.append(("connection", "close"))
            else:
                response = await self._handler.respond(request, self._shown, pairs)
            await self._answer(request, response)
            if self._protocol.our_state is h11.MUST_CLOSE or self._protocol.their_state is not h11.DONE:
                return
            self._protocol.start_next_cycle()

    async def _next(self) -> Any:
        while True:
            event = self._protocol.next_event()
            if event is not h11.NEED_DATA:
                return event
            async with asyncio.timeout(IDLE_S):
                self._protocol.receive_data(await self._reader.read(65536))

    async def _body(self, headers: dict[str, str]) -> tuple[bytes, bool]:
        if int(headers.get("content-length", 0)) > MAX_BODY_BYTES:
            return b"", True
        parts, size = [], 0
        while not isinstance(event := await self._next(), h11.EndOfMessage):
            if not isinstance(event, h11.Data):
                raise ConnectionResetError
            size += len(event.data)
            if size > MAX_BODY_BYTES:
                return b"", True
            parts.append(bytes(event.data))
        return b"".join(parts), False

    async def _answer(self, request: Request, response: Response) -> None:
        headers = [("content-type", response.content_type), ("cache-control", "no-cache, private"), *response.headers]
        if response.stream is None:
            body = response.body
            if len(body) >= GZIP_FROM_BYTES and "gzip" in request.headers.get("accept-encoding", ""):
                body = gzip.compress(body, 1)
                headers += [("content-encoding", "gzip"), ("vary", "Accept-Encoding")]
            headers.append(("content-length", str(len(body))))
            data = self._protocol.send(h11.Response(status_code=response.status, headers=headers)) or b""
            if request.method != "HEAD" and body:
                data += self._protocol.send(h11.Data(data=body)) or b""
            data += self._protocol.send(h11.EndOfMessage()) or b""
            await self._write(data)
            return
        # What arrives while streaming is read to notice that the client left, so the connection cannot be used again.
        headers += [("transfer-encoding", "chunked"), ("connection", "close")]
        gone = asyncio.ensure_future(self._reader.read(1))
        try:
            await self._send(h11.Response(status_code=response.status, headers=headers))
            stream = response.stream
            while True:
                step = asyncio.ensure_future(anext(stream, None))
                await asyncio.wait((step, gone), return_when=asyncio.FIRST_COMPLETED)
                if gone.done():
                    step.cancel()
                    await asyncio.wait((step,))
                    raise ConnectionResetError
                piece = step.result()
                if piece is None:
                    break
                await self._send(h11.Data(data=piece))
        finally:
            gone.cancel()
            response.close()
            close = getattr(response.stream, "aclose", None)
            if close is not None:
                with contextlib.suppress(RuntimeError):
                    await close()
        await self._send(h11.EndOfMessage())

    async def _send(self, event: Any) -> None:
        await self._write(self._protocol.send(event) or b"")

    async def _write(self, data: bytes) -> None:
        self._writer.write(data)
        async with asyncio.timeout(SEND_S):
            await self._writer.drain()


def _refused(error: StatusError) -> Response:
    if isinstance(error, errors.NoSuchPageError):
        return Response(404, b"404 page not found\n", "text/plain; charset=utf-8")
    headers = [_warning(text) for text in error.warnings if text.isprintable()]
    return Response(error.code, msgspec.json.encode(error.status) + b"\n", headers=headers)


@contextmanager
def _telling(options: Options) -> Iterator[None]:
    """What was found worth a warning is told with a refusal, too."""
    try:
        yield
    except StatusError as error:
        error.warnings = tuple(options.warnings)
        raise


class Handler:
    """Requests of known users to answers."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def respond(self, request: Request, shown: User | None, headers: Sequence[tuple[str, str]]) -> Response:
        """`shown` is whom a client certificate names; `headers` are all of them, in order."""
        try:
            request = replace(request, user=self._admitted(request, shown, headers))
            before = self._api.store.revision
            response = self._route(request)
            if self._api.store.revision != before:
                await asyncio.sleep(0)  # the commit was scheduled before this continuation
            return response
        except StatusError as error:
            return _refused(error)
        except StoreError as error:
            return _refused(errors.failure(500, "InternalError", str(error)))

    def _admitted(self, request: Request, shown: User | None, headers: Sequence[tuple[str, str]]) -> User:
        """Who asks, after impersonation. Raises `StatusError`: 401, or 403 for whoever may not ask this."""
        api = self._api
        asked = authorisation.attributes(request.method, request.path, request.query)
        asker = authentication.of_request(api, shown, request.headers.get("authorization", ""))
        user = authentication.impersonated(api, api.policy, asker, asked, headers)
        authorisation.check(api.policy, user, asked, api.minor)
        return user

    def _route(self, request: Request) -> Response:
        parts = [part for part in request.path.split("/") if part]
        match parts:
            case ["healthz" | "livez" | "readyz", *_]:
                return Response(body=b"ok", content_type="text/plain; charset=utf-8")
            case ["version"]:
                return self._json(discovery.version_info(self._api.version), request)
            case [".well-known", "openid-configuration"]:
                return self._json(discovery.issuer(request.headers.get("host", "")), request)
            case ["openid", "v1", "jwks"]:
                return self._token_keys(request)
            case ["openapi", "v2"]:
                body = openapi_v2.document(self._api.version) + openapi_v2.custom(self._api.custom.all())
                return Response(body=body, content_type=openapi_v2.CONTENT_TYPE)
            case ["openapi", "v3", *rest]:
                return self._openapi(request, "/".join(rest))
            case ["api"] | ["apis"]:
                return self._discovery(request, core=parts == ["api"])
            case ["api", version]:
                return self._resource_list(request, "", version)
            case ["apis", group]:
                if group not in self._api.resources.groups():
                    raise errors.NoSuchPageError
                return self._json(
                    {"kind": "APIGroup", "apiVersion": "v1", **discovery.group(self._api.resources, group)}, request
                )
            case ["apis", group, version]:
                return self._resource_list(request, group, version)
            case ["api", version, *rest]:
                return self._warned(request, self._target("", version, rest))
            case ["apis", group, version, *rest]:
                return self._warned(request, self._target(group, version, rest))
        raise errors.NoSuchPageError

    def _token_keys(self, request: Request) -> Response:
        kind = "application/jwk-set+json"
        if not any(word in request.headers.get("accept", "*/*") for word in (kind, "*/*", "application/*")):
            raise errors.not_acceptable(f"406: Not Acceptable\n\nAvailable representations: {kind}")
        keys = msgspec.json.encode({"keys": [self._api.authority.public_key()]})
        return Response(body=keys, content_type=kind)

    def _warned(self, request: Request, target: Target) -> Response:
        """The answer, and a warning if the API version is on its way out, whatever the answer is."""
        warning = retired.deprecation(target.resource.api_version, target.resource.kind, self._api.minor)
        if not warning:
            return self._resource(request, target)
        try:
            response = self._resource(request, target)
        except StatusError as error:
            response = _refused(error)
        response.headers.append(("warning", f'299 - "{warning}"'))
        return response

    def _target(self, group: str, version: str, parts: list[str]) -> Target:
        namespace = ""
        if len(parts) >= 3 and parts[0] == "namespaces" and parts[2] not in ("status", "finalize"):
            namespace, parts = parts[1], parts[2:]
        resource = self._api.resources.at(group, version, parts[0])
        if resource is None or len(parts) > 3 or (namespace and not resource.namespaced):
            raise errors.NoSuchPageError
        name = parts[1] if len(parts) > 1 else ""
        subresource = parts[2] if len(parts) > 2 else ""
        if subresource and not resource.custom and subresource not in discovery.served_subresources(resource):
            raise errors.NoSuchPageError
        return Target(resource, namespace, name, subresource)

    def _discovery(self, request: Request, *, core: bool) -> Response:
        resources = self._api.resources
        if "APIGroupDiscoveryList" in request.headers.get("accept", ""):
            body = msgspec.json.encode(discovery.aggregated(resources, core=core))
            tag = f'"{discovery.content_tag(body)}"'
            if request.headers.get("if-none-match") == tag:
                return Response(304, content_type=discovery.AGGREGATED, headers=[("etag", tag), ("vary", "Accept")])
            return Response(body=body, content_type=discovery.AGGREGATED, headers=[("etag", tag), ("vary", "Accept")])
        return self._json(
            discovery.api_versions(request.headers.get("host", "")) if core else discovery.group_list(resources),
            request,
        )

    def _resource_list(self, request: Request, group: str, version: str) -> Response:
        found = discovery.resource_list(self._api.resources, group, version)
        if not found["resources"]:
            raise errors.NoSuchPageError
        return self._json(found, request)

    def _openapi(self, request: Request, path: str) -> Response:
        version, custom = self._api.version, self._api.custom
        if not path:
            documents = custom.openapi(version)
            tags = {each: discovery.content_tag(body) for each, body in documents.items()}
            return self._json(discovery.openapi_index(version, tags), request)
        body = custom.openapi(version).get(path)
        tag = discovery.openapi_tag(version) if body is None else discovery.content_tag(body)
        try:
            body = body or discovery.openapi(version, path)
        except (KeyError, IndexError) as error:
            raise errors.failure(404, "NotFound", f"there is no OpenAPI document {path}") from error
        if request.value("hash") not in ("", tag):
            return Response(301, headers=[("location", f"/openapi/v3/{path}?hash={tag}")])
        return Response(body=body, headers=[("etag", f'"{tag}"'), ("vary", "Accept")])

    def _resource(self, request: Request, target: Target) -> Response:
        custom = self._api.custom.of(target.resource)
        if custom is None:
            return self._answered(request, target)
        warnings = (custom.warning,) if custom.warning else ()
        try:
            if target.subresource not in ("", *target.resource.subresources):
                raise errors.not_found(target.resource.plural, target.resource.group, target.name)
            if target.resource.namespaced and not target.namespace and (target.name or request.method == "POST"):
                raise errors.NoSuchPageError
            response = self._answered(request, target)
        except StatusError as error:
            error.warnings += warnings
            raise
        response.headers += map(_warning, warnings)
        return response

    def _answered(self, request: Request, target: Target) -> Response:
        method, name = request.method, target.name
        if target.resource.group == measured.GROUP and (method not in ("GET", "HEAD") or request.flag("watch")):
            raise errors.method_not_allowed()
        if target.subresource == "log" and method == "GET":
            return self._log(request, target)
        if target.subresource == "token" and method == "POST":
            return self._token(request, target)
        if target.subresource in ("binding", "eviction") and method == "POST":
            return self._pod_action(request, target)
        if target.subresource in _CREATED_ONLY or (target.resource.verbs == ("create",) and method != "POST"):
            raise errors.method_not_allowed()
        match method:
            case "GET" | "HEAD" if name and not request.flag("watch"):
                return self._get(request, target)
            case "GET" | "HEAD" if request.flag("watch"):
                return self._watch(request, target)
            case "GET" | "HEAD":
                return self._list(request, target)
            case "POST" if not name:
                return self._create(request, target)
            case "PUT" if name:
                raw, options = self._object(request)
                with _telling(options):
                    done = self._api.update(
                        target.resource, target.namespace, name, raw, options, subresource=target.subresource
                    )
                return self._written(request, target, done, options)
            case "PATCH" if name:
                return self._patch(request, target)
            case "DELETE" if name and not target.subresource:
                return self._delete(request, target)
            case "DELETE" if not name:
                which = self._filter(request, target)
                page = self._api.delete_collection(target.resource, which, self._delete_options(request))
                return self._json(self._list_of(target, page.items, page.revision), request)
        raise errors.method_not_allowed()

    # Reading

    def _get(self, request: Request, target: Target) -> Response:
        if target.subresource == "scale":
            return self._json(self._api.scale(target.resource, target.namespace, target.name), request)
        raw = self._api.get(target.resource, target.namespace, target.name)
        if table := self._table(request, target, [raw]):
            table["metadata"] = {"resourceVersion": raw["metadata"]["resourceVersion"]}
            return self._json(table, request)
        return self._json(self._shown(request, raw), request)

    def _list(self, request: Request, target: Target) -> Response:
        which = self._filter(request, target)
        if request.flag("sendInitialEvents"):
            message = "sendInitialEvents is forbidden for list"
            cause = errors.Cause("FieldValueForbidden", "sendInitialEvents", message)
            raise errors.invalid("ListOptions", "meta.k8s.io", "", [cause])
        revision = request.number("resourceVersion")
        if revision is not None and revision > self._api.store.revision:
            raise self._future(revision)
        limit = request.number("limit") or 0
        page = self._api.list(target.resource, which, limit=limit, continue_token=request.value("continue"))
        listed = self._list_of(target, page.items, page.revision)
        if page.continue_token:
            listed["metadata"]["continue"] = page.continue_token
        if page.remaining is not None:
            listed["metadata"]["remainingItemCount"] = page.remaining
        if table := self._table(request, target, page.items):
            metadata = {key: value for key, value in listed["metadata"].items() if value}
            return self._json({**table, "metadata": metadata}, request)
        if _wants(request, "PartialObjectMetadataList"):
            items = [_metadata_only(item) for item in page.items]
            listed |= {"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "items": items}
        return self._json(listed, request)

    def _list_of(self, target: Target, items: Iterable[JsonObject], revision: int) -> JsonObject:
        custom = self._api.custom.of(target.resource)
        metadata = {"resourceVersion": str(revision)}
        return {
            "kind": f"{target.resource.kind}List" if custom is None else custom.list_kind,
            "apiVersion": target.resource.api_version,
            "metadata": metadata if custom is None else {"continue": "", **metadata},
            "items": list(items),
        }

    def _future(self, revision: int) -> StatusError:
        cause = {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
        message = f"Too large resource version: {revision}, current: {self._api.store.revision}"
        return errors.failure(504, "Timeout", f"Timeout: {message}", {"causes": [cause], "retryAfterSeconds": 1})

    def _filter(self, request: Request, target: Target) -> Filter:
        fields = request.value("fieldSelector")
        if target.name:
            fields = ",".join(filter(None, (fields, f"metadata.name={target.name}")))
        return Filter(target.namespace, request.value("labelSelector"), fields)

    def _table(self, request: Request, target: Target, items: list[JsonObject], **more: Any) -> JsonObject | None:
        if not _wants(request, "Table"):
            return None
        include = request.value("includeObject", "Metadata")
        custom = self._api.custom.of(target.resource)
        columns = () if custom is None else custom.columns
        return tables.table(target.resource.kind, items, self._api.now(), include=include, columns=columns, **more)

    def _shown(self, request: Request, raw: JsonObject) -> JsonObject:
        return _metadata_only(raw) if _wants(request, "PartialObjectMetadata") else raw

    def _json(self, raw: JsonObject, request: Request, status: int = 200) -> Response:
        accept = request.headers.get("accept", "")
        offered = ("json", "*/*", "application/*", "yaml")
        if accept and not any(word in accept for word in offered):
            raise errors.not_acceptable(
                "only the following media types are accepted: application/json, application/yaml"
            )
        if "application/yaml" in accept and "json" not in accept and "*/*" not in accept:
            return Response(status, bodies.to_yaml(raw), "application/yaml")
        body = msgspec.json.encode(raw)
        if request.flag("pretty") or request.headers.get("user-agent", "").startswith(_GO_CLIENTLESS):
            body = msgspec.json.format(body, indent=2)
        return Response(status, body + b"\n")

    # Watching

    def _watch(self, request: Request, target: Target) -> Response:
        initial = request.flag("sendInitialEvents")
        revision = request.number("resourceVersion")
        if initial and request.value("resourceVersionMatch") != "NotOlderThan":
            message = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
            cause = errors.Cause("FieldValueForbidden", "resourceVersionMatch", message)
            raise errors.invalid("ListOptions", "meta.k8s.io", "", [cause])
        if revision is not None and revision > self._api.store.revision:
            raise self._future(revision)
        ready = asyncio.Event()
        watch = Watch(
            self._api,
            target.resource,
            self._filter(request, target),
            since=revision or None,
            initial_events=initial,
            on_event=ready.set,
        )
        return Response(stream=self._events(request, target, watch, ready), close=watch.close)

    async def _events(
        self, request: Request, target: Target, watch: Watch, ready: asyncio.Event
    ) -> AsyncIterator[bytes]:
        loop = asyncio.get_running_loop()
        seconds = request.number("timeoutSeconds")
        end = loop.time() + (seconds or WATCH_S)
        bookmarks = request.flag("allowWatchBookmarks")
        headers = True
        while True:
            ready.clear()
            for event in watch.take():
                yield self._line(request, target, event, headers=headers)
                headers = False
            if watch.overflowed or loop.time() >= end:
                return
            try:
                async with asyncio.timeout_at(min(end, loop.time() + BOOKMARK_EVERY_S)):
                    await ready.wait()
            except TimeoutError:
                if bookmarks:
                    yield self._line(request, target, watch.bookmark(), headers=headers)

    def _line(self, request: Request, target: Target, event: WatchEvent, *, headers: bool) -> bytes:
        raw = event.object
        if table := self._table(request, target, [raw] if event.type != "BOOKMARK" else [], headers=headers):
            table["metadata"] = {"resourceVersion": raw["metadata"]["resourceVersion"]}
            if event.type == "BOOKMARK":
                row = {"cells": [], "object": {**_metadata_only(raw)}}
                table["rows"] = [row]
            raw = table
        elif _wants(request, "PartialObjectMetadata"):
            raw = _metadata_only(raw)
        return msgspec.json.encode({"type": event.type, "object": raw}) + b"\n"

    # Writing

    def _options(self, request: Request) -> Options:
        dry_run = request.query.get("dryRun", [])
        if any(value != "All" for value in dry_run):
            cause = errors.Cause("FieldValueNotSupported", "dryRun", f'Unsupported value: {dry_run}: supported: "All"')
            raise errors.invalid("CreateOptions", "meta.k8s.io", "", [cause])
        validation = request.value("fieldValidation", "Warn")
        if validation not in ("Ignore", "Warn", "Strict"):
            raise errors.bad_request(f"fieldValidation={validation}: supported values are Ignore, Warn, Strict")
        return Options(dry_run=bool(dry_run), field_validation=validation, user=request.user)

    def _object(self, request: Request) -> tuple[JsonObject, Options]:
        options = self._options(request)
        kind = request.headers.get("content-type", "application/json").split(";")[0].strip()
        if kind == protobuf.CONTENT_TYPE:
            try:
                return protobuf.decode(request.body), options
            except protobuf.ProtobufError as error:
                raise errors.bad_request(str(error)) from error
        raw, options.duplicates = bodies.read(request.body, kind)
        return raw, options

    def _create(self, request: Request, target: Target) -> Response:
        raw, options = self._object(request)
        if target.resource.native == "Binding":
            return self._bind(request, target.namespace, raw["metadata"].get("name", ""), raw)
        if reviews.is_review(target.resource):
            answered = reviews.answer(self._api, request.user, target.resource, target.namespace, raw)
            return self._json(answered, request, 201)
        with _telling(options):
            done = self._api.create(target.resource, target.namespace, raw, options)
        return self._written(request, target, done, options, status=201)

    def _patch(self, request: Request, target: Target) -> Response:
        options = self._options(request)
        kind = request.headers.get("content-type", "").split(";")[0].strip()
        patch: Any = {} if kind == APPLY_PATCH else bodies.read_any(request.body)
        with _telling(options):
            done = self._api.patch(
                target.resource, target.namespace, target.name, patch, kind, options, subresource=target.subresource
            )
        return self._written(request, target, done, options)

    def _written(
        self, request: Request, target: Target, raw: JsonObject, options: Options, status: int = 200
    ) -> Response:
        table = self._table(request, target, [raw])
        response = self._json(table or self._shown(request, raw), request, status)
        response.headers += [_warning(text) for text in options.warnings if text.isprintable()]
        return response

    def _delete_options(self, request: Request) -> DeleteOptions:
        raw: JsonObject = {}
        if request.body:
            raw, _ = self._object(request)
        for name in ("gracePeriodSeconds", "propagationPolicy", "dryRun"):
            if name in request.query:
                raw[name] = request.number(name) if name == "gracePeriodSeconds" else request.value(name)
        return DeleteOptions.from_wire(raw)

    def _delete(self, request: Request, target: Target) -> Response:
        api, resource = self._api, target.resource
        left = api.delete(resource, target.namespace, target.name, self._delete_options(request))
        if left["metadata"].get("deletionTimestamp") or resource.native == "Pod":
            return self._json(left, request)
        details = {"name": target.name, "kind": resource.plural, "uid": left["metadata"]["uid"]}
        if resource.group:
            details["group"] = resource.group
        status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}
        return self._json(status, request)

    def _pod_action(self, request: Request, target: Target) -> Response:
        raw, _ = self._object(request)
        if target.subresource == "binding":
            return self._bind(request, target.namespace, target.name, raw)
        named = (raw.get("metadata") or {}).get("name", target.name)
        if named != target.name:
            raise errors.bad_request("name in URL does not match name in Eviction object")
        options = DeleteOptions.from_wire(raw.get("deleteOptions") or {})
        if self._options(request).dry_run:
            options = replace(options, dry_run=True)
        evictions.evict(self._api, target.namespace, target.name, options)
        done = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}
        return self._json(done, request, 201)

    def _token(self, request: Request, target: Target) -> Response:
        raw, _ = self._object(request)
        made = accounts.token(self._api, target.namespace, target.name, raw)
        return self._json(made, request, 201)

    def _bind(self, request: Request, namespace: str, name: str, raw: JsonObject) -> Response:
        node = (raw.get("target") or {}).get("name", "")
        self._api.bind(namespace, name, node, dry_run=self._options(request).dry_run)
        status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}
        return self._json(status, request, 201)

    def _log(self, request: Request, target: Target) -> Response:
        pod = self._api.get(target.resource, target.namespace, target.name)
        names = [item["name"] for item in pod["spec"].get("containers") or ()]
        everything = [*names, *(item["name"] for item in pod["spec"].get("initContainers") or ())]
        container = request.value("container")
        if not container and len(names) > 1:
            listed = " ".join(names)
            raise errors.bad_request(
                f"a container name must be specified for pod {target.name}, choose one of: [{listed}]"
            )
        container = container or names[0]
        if container not in everything:
            raise errors.bad_request(f"container {container} is not valid for pod {target.name}")
        since: datetime | None = None
        if (seconds := request.number("sinceSeconds")) is not None:
            since = self._api.now() - timedelta(seconds=seconds)
        elif text := request.value("sinceTime"):
            since = datetime.fromisoformat(text.replace("Z", "+00:00"))
        query = LogQuery(
            container,
            follow=request.flag("follow"),
            previous=request.flag("previous"),
            timestamps=request.flag("timestamps"),
            tail_lines=request.number("tailLines"),
            since=since,
            limit_bytes=request.number("limitBytes"),
        )
        if self._api.logs is None:
            raise errors.failure(503, "ServiceUnavailable", "no logs here: the nodes are simulated, or there are none")
        try:
            stream = self._api.logs.lines(pod, query)
        except LookupError as error:
            raise errors.bad_request(str(error.args[0] if error.args else error)) from error
        return Response(content_type="text/plain", stream=stream)


def _warning(text: str) -> tuple[str, str]:
    quoted = text.replace("\\", "\\\\").replace('"', '\\"')
    return "warning", f'299 - "{quoted}"'


def _wants(request: Request, kind: str) -> bool:
    """Does the first clause of Accept ask for this transformation (`as=Table`)?"""
    first = request.headers.get("accept", "").split(",")[0].replace(" ", "")
    return f"as={kind}" in first.split(";")


def _metadata_only(raw: JsonObject) -> JsonObject:
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": raw["metadata"]}
