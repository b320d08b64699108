"""What service account tokens say, and when they are valid no more."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from seatrial.control import tokens
from seatrial.control.tokens import Bound, InvalidTokenError, Reference
from seatrial.kube.objects import JsonObject, ObjectMeta

NOW = datetime(2030, 1, 1, tzinfo=UTC)
ROBOT = ObjectMeta(name="robot", namespace="shop", uid="u1")
UNBOUND = Bound()


@dataclass
class World:
    there: dict[tuple[str, str, str], ObjectMeta] = field(default_factory=dict)
    secret: str = ""

    def metadata(self, kind: str, namespace: str, name: str) -> ObjectMeta | None:
        return self.there.get((kind, namespace, name))

    def secret_token(self, namespace: str, name: str) -> str:
        return self.secret


@pytest.fixture
def world() -> World:
    pod = ObjectMeta(name="web", namespace="shop", uid="p1")
    node, secret = ObjectMeta(name="n1", uid="n"), ObjectMeta(name="key", namespace="shop", uid="s1")
    return World(
        {
            ("ServiceAccount", "shop", "robot"): ROBOT,
            ("Pod", "shop", "web"): pod,
            ("Node", "", "n1"): node,
            ("Secret", "shop", "key"): secret,
        }
    )


def said(
    bound: Bound = UNBOUND, *, lifetime_s: int = 3600, audiences: tuple[str, ...] = tokens.AUDIENCES
) -> JsonObject:
    return tokens.claims(ROBOT, bound, audiences=audiences, lifetime_s=lifetime_s, now=NOW, token_id="id")


def test_a_token_is_its_accounts(world: World) -> None:
    user, audiences = tokens.bearer(said(), "", world, NOW)
    assert user.name == "system:serviceaccount:shop:robot"
    assert user.groups == ("system:serviceaccounts", "system:serviceaccounts:shop")
    assert (user.uid, user.extra) == ("u1", {"authentication.kubernetes.io/credential-id": ("JTI=id",)})
    assert audiences == tokens.AUDIENCES


def test_a_mounted_token_says_where_it_is_and_lives_longer_than_it_claims(world: World) -> None:
    claims = said(Bound(pod=Reference("web", "p1"), node=Reference("n1", "n")), lifetime_s=3607)
    assert claims["exp"] - claims["iat"] == 365 * 24 * 3600
    assert claims["kubernetes.io"]["warnafter"] - claims["iat"] == 3607
    user, _ = tokens.bearer(claims, "", world, NOW + timedelta(days=300))
    assert {key.rpartition("/")[2]: value for key, value in user.extra.items()} == {
        "credential-id": ("JTI=id",), "node-name": ("n1",), "node-uid": ("n",),
        "pod-name": ("web",), "pod-uid": ("p1",),
    }  # fmt: skip
    elsewhere = said(Bound(pod=Reference("web", "p1")), lifetime_s=3607, audiences=("vault",))
    assert elsewhere["exp"] - elsewhere["iat"] == 3607


@pytest.mark.parametrize(
    ("bound", "gone"),
    [
        (Bound(pod=Reference("web", "p1")), ("Pod", "shop", "web")),
        (Bound(secret=Reference("key", "s1")), ("Secret", "shop", "key")),
        (Bound(node=Reference("n1", "n")), ("Node", "", "n1")),
    ],
)
def test_it_dies_with_what_it_is_bound_to(world: World, bound: Bound, gone: tuple[str, str, str]) -> None:
    tokens.bearer(said(bound), "", world, NOW)
    going = ObjectMeta(name=gone[2], namespace=gone[1], uid=world.there[gone].uid, deletion_timestamp=NOW)
    world.there[gone] = going
    tokens.bearer(said(bound), "", world, NOW + timedelta(seconds=60))
    with pytest.raises(InvalidTokenError, match="service account token has been invalidated"):
        tokens.bearer(said(bound), "", world, NOW + timedelta(seconds=61))
    del world.there[gone]
    with pytest.raises(InvalidTokenError, match="service account token has been invalidated"):
        tokens.bearer(said(bound), "", world, NOW)
    world.there[gone] = ObjectMeta(name=gone[2], namespace=gone[1], uid="another")
    with pytest.raises(InvalidTokenError, match=r"UID \(another\) does not match"):
        tokens.bearer(said(bound), "", world, NOW)


def test_it_dies_with_its_account_and_with_time(world: World) -> None:
    tokens.bearer(said(), "", world, NOW + timedelta(seconds=3660))
    with pytest.raises(InvalidTokenError, match="service account token has expired"):
        tokens.bearer(said(), "", world, NOW + timedelta(seconds=3661))
    with pytest.raises(InvalidTokenError, match="service account token is not valid yet"):
        tokens.bearer(said(), "", world, NOW - timedelta(seconds=61))
    del world.there["ServiceAccount", "shop", "robot"]
    with pytest.raises(InvalidTokenError, match='serviceaccounts "robot" not found'):
        tokens.bearer(said(), "", world, NOW)


def test_it_is_for_its_audiences_only(world: World) -> None:
    why = r'token audiences \["vault"\] is invalid for the target audiences \["https://kubernetes'
    with pytest.raises(InvalidTokenError, match=why):
        tokens.bearer(said(audiences=("vault",)), "", world, NOW)
    _, audiences = tokens.bearer(said(audiences=("vault",)), "", world, NOW, ("vault", "other"))
    assert audiences == ("vault",)


def test_a_token_in_a_secret_is_valid_while_the_secret_holds_it(world: World) -> None:
    claims, world.secret = tokens.legacy_claims(ROBOT, "key"), "text"
    user, _ = tokens.bearer(claims, "text", world, NOW + timedelta(days=10000))
    assert (user.name, user.extra) == ("system:serviceaccount:shop:robot", {})
    with pytest.raises(InvalidTokenError, match="Token does not match server's copy"):
        tokens.bearer(claims, "other", world, NOW)
    del world.there["Secret", "shop", "key"]
    with pytest.raises(InvalidTokenError, match="Token has been invalidated"):
        tokens.bearer(claims, "text", world, NOW)


@pytest.mark.parametrize(("life", "at"), [(3607, 2885.6), (600, 480), (30 * 24 * 3600, 24 * 3600)])
def test_a_node_exchanges_it_at_four_fifths_of_its_life_and_daily(life: int, at: float) -> None:
    assert tokens.refresh_at(NOW, NOW + timedelta(seconds=life)) == NOW + timedelta(seconds=at)
