"""Schedules of CronJobs: what `spec.schedule` means, as robfig/cron's standard parser (Kubernetes uses v3) reads it.

Its dialect has corners that no Python library shares: `?` is `*`, `5/10` means `5-59/10`, a `*` in either of day of
month and day of week makes both count, `@every` keeps its own pace. When clocks are put forward, what would have been
in the missing hour is left out; when they are put back, what is in the hour that comes twice happens twice.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol
from zoneinfo import ZoneInfo

_MONTHS: Final = {
    "jan": 1,
    "feb": 2,
    "mar": 3,
    "apr": 4,
    "may": 5,
    "jun": 6,
    "jul": 7,
    "aug": 8,
    "sep": 9,
    "oct": 10,
    "nov": 11,
    "dec": 12,
}
_DAYS: Final = {"sun": 0, "mon": 1, "tue": 2, "wed": 3, "thu": 4, "fri": 5, "sat": 6}
_FIELDS: Final[tuple[tuple[int, int, dict[str, int]], ...]] = (
    (0, 59, {}),
    (0, 23, {}),
    (1, 31, {}),
    (1, 12, _MONTHS),
    (0, 6, _DAYS),
)
_NAMED: Final = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_UNITS_S: Final = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION: Final = re.compile(r"([+-]?)((?:(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+)")
_DURATION_PART: Final = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)")
_YEARS: Final = 5
"""A time that is not found within so many years is taken never to come."""
_STEPS: Final = 20_000
"""More than five years of days and a day of minutes: a walk that takes more goes round in a circle."""


class ScheduleError(ValueError):
    """The schedule cannot be read; the message is upstream's."""


class Schedule(Protocol):
    def next(self, after: datetime) -> datetime | None:
        """The first time later than `after` (UTC, as is the answer); None if there is none for years."""


def parse(text: str) -> Schedule:
    """Raises `ScheduleError`."""
    if not text:
        raise ScheduleError("empty spec string")
    zone = ZoneInfo("UTC")
    if text.startswith(("TZ=", "CRON_TZ=")):
        place, separator, rest = text.partition(" ")
        if not separator:
            raise ScheduleError("TZ specified without a schedule")
        name = place.partition("=")[2]
        try:
            zone = time_zone(name)
        except ScheduleError as error:
            raise ScheduleError(f"provided bad location {name}: {error}") from error
        text = rest.strip()
    if text.startswith("@every "):
        return Every(max(timedelta(seconds=1), _duration(text)))
    if text.startswith("@"):
        if text not in _NAMED:
            raise ScheduleError(f"unrecognized descriptor: {text}")
        text = _NAMED[text]
    fields = text.split()
    if len(fields) != len(_FIELDS):
        raise ScheduleError(f"expected exactly 5 fields, found {len(fields)}: [{' '.join(fields)}]")
    (minutes, _), (hours, _), (days, any_day), (months, _), (weekdays, any_weekday) = (
        _field(field, *bounds) for field, bounds in zip(fields, _FIELDS, strict=True)
    )
    return Calendar(minutes, hours, days, months, weekdays, both_days=any_day or any_weekday, zone=zone)


def time_zone(name: str) -> ZoneInfo:
    """Raises `ScheduleError` if there is no such time zone."""
    try:
        return ZoneInfo(name or "UTC")
    except (KeyError, ValueError, OSError) as error:
        raise ScheduleError(f"unknown time zone {name}") from error


@dataclass(frozen=True, slots=True)
class Every:
    """`@every`: at a fixed distance from the time before, on the second."""

    interval: timedelta

    def next(self, after: datetime) -> datetime | None:
        return (after + self.interval).replace(microsecond=0)


@dataclass(frozen=True, slots=True)
class Calendar:
    """The times whose fields are in these sets. `both_days`: day of month and day of week must both match."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    both_days: bool
    zone: ZoneInfo

    def next(self, after: datetime) -> datetime | None:
        start = _whole_minute(after.astimezone(UTC))
        found = self._first(start)
        while found is not None and found <= after:  # clocks were put back over midnight
            start += timedelta(hours=1)
            found = self._first(start)
        return found

    def _first(self, time: datetime) -> datetime | None:
        """The first match from `time` on. The walk is the library's own, since where it stumbles, it stumbles alike."""
        limit = time.astimezone(self.zone).year + _YEARS
        walk = _Walk(time, self.zone)
        for _ in range(_STEPS):
            local = walk.time.astimezone(self.zone)
            if local.year > limit:
                return None
            if local.month not in self.months:
                walk.to_next_month()
            elif not self._on_day(local):
                walk.to_next_day()
            elif local.hour not in self.hours:
                walk.to_next_hour()
            elif local.minute not in self.minutes:
                walk.time += timedelta(minutes=1)
            else:
                return walk.time
        return None

    def _on_day(self, local: datetime) -> bool:
        day, weekday = local.day in self.days, local.isoweekday() % 7 in self.weekdays
        return (day and weekday) if self.both_days else (day or weekday)


@dataclass(slots=True)
class _Walk:
    """A time that goes forward by whole local months, days and hours.

    The smaller fields start over with the first step; after that, steps are taken from wherever the last one led.
    """

    time: datetime
    zone: ZoneInfo
    started: bool = False

    def to_next_month(self) -> None:
        local = self._begin(day=1, hour=0)
        year, month = divmod(local.year * 12 + local.month, 12)
        first = datetime(year, month + 1, 1, local.hour, local.minute)
        self.time = _instant(first + timedelta(days=local.day - 1), self.zone)

    def to_next_day(self) -> None:
        local = self._begin(hour=0)
        self.time = _instant(local + timedelta(days=1), self.zone)
        hour = self.time.astimezone(self.zone).hour
        if hour > 12:  # there is no midnight where clocks are put forward over it
            self.time += timedelta(hours=24 - hour)
        elif hour > 0:
            self.time -= timedelta(hours=hour)

    def to_next_hour(self) -> None:
        self._begin()
        self.time += timedelta(hours=1)

    def _begin(self, *, day: int | None = None, hour: int | None = None) -> datetime:
        """What the wall clock shows, the first time with `day` and `hour` set and the minutes at nought."""
        local = self.time.astimezone(self.zone).replace(tzinfo=None)
        if not self.started:
            self.started = True
            local = local.replace(
                day=local.day if day is None else day, hour=local.hour if hour is None else hour, minute=0
            )
            self.time = _instant(local, self.zone)
            local = self.time.astimezone(self.zone).replace(tzinfo=None)
        return local


def _whole_minute(after: datetime) -> datetime:
    """The first whole minute later than `after`."""
    return after.replace(second=0, microsecond=0) + timedelta(minutes=1)


def _instant(local: datetime, zone: ZoneInfo) -> datetime:
    """When a wall clock in `zone` shows `local`; of two such times, or none, the one that Go's time.Date gives."""
    as_utc = local.replace(tzinfo=UTC)
    guess = _offset(as_utc, zone)
    return as_utc - (_offset(as_utc - guess, zone) if guess else guess)


def _offset(time: datetime, zone: ZoneInfo) -> timedelta:
    return time.astimezone(zone).utcoffset() or timedelta(0)


def _field(field: str, low: int, high: int, names: dict[str, int]) -> tuple[frozenset[int], bool]:
    """The values that a comma-separated list means, and whether a star is among them."""
    values: set[int] = set()
    starred = False
    for item in filter(None, field.split(",")):
        found, star = _range(item, low, high, names)
        values.update(found)
        starred = starred or star
    return frozenset(values), starred


def _range(item: str, low: int, high: int, names: dict[str, int]) -> tuple[range, bool]:
    span, *steps = item.split("/")
    first, *lasts = span.split("-")
    if len(lasts) > 1:
        raise ScheduleError(f"too many hyphens: {item}")
    if len(steps) > 1:
        raise ScheduleError(f"too many slashes: {item}")
    starred = first in {"*", "?"}
    if starred:
        start, end = low, high
    else:
        start = _number(first, names)
        end = _number(lasts[0], names) if lasts else start
    step = _number(steps[0], {}) if steps else 1
    if steps and not lasts:
        end = high
    if start < low:
        raise ScheduleError(f"beginning of range ({start}) below minimum ({low}): {item}")
    if end > high:
        raise ScheduleError(f"end of range ({end}) above maximum ({high}): {item}")
    if start > end:
        raise ScheduleError(f"beginning of range ({start}) beyond end of range ({end}): {item}")
    if step == 0:
        raise ScheduleError(f"step of range should be a positive number: {item}")
    return range(start, end + 1, step), starred and step == 1


def _number(text: str, names: dict[str, int]) -> int:
    if text.lower() in names:
        return names[text.lower()]
    if not re.fullmatch(r"[+-]?[0-9]+", text):
        raise ScheduleError(f'failed to parse int from {text}: strconv.Atoi: parsing "{text}": invalid syntax')
    number = int(text)
    if number < 0:
        raise ScheduleError(f"negative number ({number}) not allowed: {text}")
    return number


def _duration(text: str) -> timedelta:
    """What follows `@every`, a duration as Go writes it, without what is less than a second."""
    given = text.removeprefix("@every ")
    found = _DURATION.fullmatch(given)
    if found is None:
        if given == "0":
            return timedelta(0)
        raise ScheduleError(f'failed to parse duration {text}: time: invalid duration "{given}"')
    seconds = sum(float(count) * _UNITS_S[unit] for count, unit in _DURATION_PART.findall(found[2]))
    return timedelta(seconds=int(-seconds if found[1] == "-" else seconds))
