"""Asking kube-apiserver and the API here about cases, and comparing what they say.

An answer is `[code, [[reason, field, message], ...]]`; the causes of a request that cannot even be decoded are the
paths in its message. Compared are: taken or refused, and the fields of the causes.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any, Final

from seatrial.deploy.client import ApiError, Client, UnreachableError
from seatrial.kube.objects import JsonObject
from seatrial.server import bodies
from seatrial.server.api import Api
from seatrial.server.errors import StatusError
from seatrial.server.requests import Options
from seatrial.server.store import Store
from tests.conformance.validation import cases

Answer = list[Any]
BROKEN: Final[Answer] = [500, []]
"""kube-apiserver has dropped the connection: a few documents make it panic. They are not compared."""
_LONGEST: Final = 240
_UNKNOWN: Final = re.compile(r'(unknown|duplicate) field "((?:[^"\\]|\\.)*)"')


@dataclass
class Ours:
    """The API here, with the good objects in it for those cases that replace one."""

    api: Api = field(default_factory=lambda: Api(Store(None), disabled_plugins=("ServiceAccount",)))

    def __post_init__(self) -> None:
        for _, raw in cases.good():
            try:
                self.api.create(*self._place(raw), json.loads(json.dumps(raw)))
            except StatusError as error:
                if error.code != 409:
                    print("ours refuses a good object:", raw["kind"], raw["metadata"]["name"], error)

    def ask(self, case: JsonObject) -> Answer:
        raw = cases.good()[case["object"]][1]
        resource, namespace = self._place(raw)
        name = raw["metadata"]["name"]
        try:
            version = self.api.get(resource, namespace, name)["metadata"]["resourceVersion"] if case["update"] else ""
            sent, duplicates = bodies.read(cases.sent(case, version).encode(), "application/json")
            options = Options(dry_run=True, field_validation="Strict", duplicates=duplicates)
            if case["update"]:
                self.api.update(resource, namespace, name, sent, options)
            else:
                self.api.create(resource, namespace, sent, options)
        except StatusError as error:
            return answer(error.status)
        except Exception as error:  # a document must not break the server, whatever it says
            return [500, [["", "", f"{type(error).__name__}: {error}"[:_LONGEST]]]]
        return [200, []]

    def _place(self, raw: JsonObject) -> tuple[Any, str]:
        resource = self.api.kind(raw["apiVersion"], raw["kind"])
        return resource, raw["metadata"].get("namespace", "default") if resource.namespaced else ""


class Theirs:
    """kube-apiserver, without the admission of service accounts; the good objects are made in it first."""

    def __init__(self, client: Client) -> None:
        self.client = client
        for _, raw in cases.good():
            try:
                client.send("POST", self._path(raw), cases.compact(raw).encode())
            except ApiError as error:
                if error.code != 409:
                    raise RuntimeError(f"{raw['kind']} {raw['metadata']['name']}: {error}") from error

    def ask(self, case: JsonObject) -> Answer:
        raw = cases.good()[case["object"]][1]
        path, name = self._path(raw), raw["metadata"]["name"]
        query = "dryRun=All&fieldValidation=Strict"
        try:
            if case["update"]:
                version = self.client.request("GET", f"{path}/{name}")["metadata"]["resourceVersion"]
                self.client.send("PUT", f"{path}/{name}?{query}", cases.sent(case, version).encode())
            else:
                self.client.send("POST", f"{path}?{query}", cases.sent(case, "").encode())
        except ApiError as error:
            return answer(error.status)
        except UnreachableError:
            return BROKEN
        return [200, []]

    def _path(self, raw: JsonObject) -> str:
        return self.client.collection(raw["apiVersion"], raw["kind"], raw["metadata"].get("namespace", "default"))


def answer(status: JsonObject) -> Answer:
    """What there is to compare of a refusal; a name that is taken was found after all else was well."""
    code, message = int(status.get("code", 0)), str(status.get("message", ""))
    if status.get("reason") == "AlreadyExists":
        return [200, []]
    told = (status.get("details") or {}).get("causes") or ()
    causes = [[each.get("reason", ""), each.get("field", ""), each.get("message", "")[:_LONGEST]] for each in told]
    return [code, causes or [["", "", message[:_LONGEST]]]]


def places(said: Answer) -> frozenset[str]:
    """The fields that a refusal is about; of what could not be decoded upstream says no indexes."""
    if said[0] != 400:
        return frozenset(field for _, field, _ in said[1])
    text = said[1][0][2]
    return frozenset(path for _, path in _UNKNOWN.findall(text)) or frozenset(("undecodable",))


@dataclass
class Score:
    """What agreed; `differing` are the seeds of cases that did not, with both answers."""

    cases: int = 0
    refused: int = 0
    wrongly_refused: int = 0
    wrongly_taken: int = 0
    other_fields: int = 0
    other_words: int = 0
    differing: list[tuple[int, JsonObject, Answer, Answer]] = field(default_factory=list)

    def add(self, seed: int, case: JsonObject, upstream: Answer, ours: Answer) -> None:
        if upstream == BROKEN:
            return
        self.cases += 1
        bad, bad_here = upstream[0] != 200, ours[0] != 200
        self.refused += bad
        if bad != bad_here:
            self.wrongly_taken += bad
            self.wrongly_refused += bad_here
        elif bad and (ours[0] == 500 != upstream[0] or places(upstream) != places(ours)):
            self.other_fields += 1
        else:
            if bad and upstream[0] != 400 and _words(upstream) != _words(ours):
                self.other_words += 1
            return
        self.differing.append((seed, case, upstream, ours))

    def is_good(self) -> bool:
        """Whether it is as alike as has to be: 99.5 % of the verdicts, 98 % of the fields, no good document refused."""
        alike = self.cases - self.wrongly_refused - self.wrongly_taken
        same = self.refused - self.wrongly_taken - self.other_fields
        return not self.wrongly_refused and alike >= 0.995 * self.cases and same >= 0.98 * self.refused

    def __str__(self) -> str:
        agree = self.cases - self.wrongly_refused - self.wrongly_taken
        same = self.refused - self.wrongly_taken - self.other_fields
        return (
            f"{self.cases} documents, {self.refused} refused upstream: same verdict {100 * agree / self.cases:.2f} % "
            f"({self.wrongly_refused} refused only here, {self.wrongly_taken} taken only here), same fields in "
            f"{100 * same / max(1, self.refused):.2f} % of refusals, in other words {self.other_words}"
        )


def _words(said: Answer) -> list[str]:
    return sorted({f"{field}: {message}" for _, field, message in said[1]})
