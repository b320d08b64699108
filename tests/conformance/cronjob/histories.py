"""Invents histories. A history is JSON, and says the same to `upstream/cronjob` and to `replay`.

Left out is what is chance upstream: commands come at seconds of their own.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

Json = dict[str, Any]
ZONES = (
    "America/New_York",
    "Europe/Berlin",
    "Asia/Kolkata",
    "Australia/Sydney",
    "America/Sao_Paulo",
    "Africa/Cairo",
    "Pacific/Auckland",
    "Etc/UTC",
    "UTC",
)
BEGINNINGS = (
    datetime(2026, 3, 8, 5, 30, tzinfo=UTC),  # New York puts its clocks forward at 07:00 UTC
    datetime(2026, 11, 1, 4, 30, tzinfo=UTC),  # ... and back at 06:00
    datetime(2026, 3, 28, 23, 10, tzinfo=UTC),  # Berlin, an hour before
    datetime(2026, 10, 24, 23, 10, tzinfo=UTC),
    datetime(2026, 4, 4, 14, 20, tzinfo=UTC),  # Sydney and Auckland
    datetime(2024, 2, 28, 22, 0, tzinfo=UTC),
    datetime(2026, 12, 31, 22, 0, tzinfo=UTC),
    datetime(2026, 6, 15, 8, 0, tzinfo=UTC),
)
# Schedules by about how many seconds lie between two times.
OFTEN = ("* * * * *", "*/2 * * * *", "*/5 * * * *", "0-30/3 * * * *", "@every 90s", "@every 2m30s", "1,2,7,59 * * * *")
HOURLY = ("0 * * * *", "@hourly", "30 */2 * * *", "15,45 1-22 * * *", "0 2-3 * * *", "@every 1h10m", "*/20 */3 * * ?")
DAILY = (
    "0 0 * * *",
    "@daily",
    "30 2 * * *",
    "0 12 * * MON-FRI",
    "59 23 31 * *",
    "0 0 1,15 * 3",
    "30 1 * * *",
    "@weekly",
)
NEVER = ("59 23 31 2 *", "@weekly")
PACES = ((OFTEN, 60 * 40), (HOURLY, 3600 * 30), (DAILY, 86400 * 20))


def invent(seed: int) -> Json:
    dice = Random(seed)
    schedules, span_s = dice.choice((PACES[0], PACES[0], PACES[1], PACES[1], PACES[2]))
    begin = dice.choice(BEGINNINGS) + timedelta(seconds=dice.randrange(0, 3600) if dice.random() < 0.5 else 0)
    count = dice.randint(8, 26)
    span_s = int(span_s * dice.uniform(0.4, 1.0))
    times = sorted(dice.sample(range(1, span_s), count))
    names = ["one", *(["two"] if dice.random() < 0.25 else [])]
    commands: list[Json] = []
    made = dict.fromkeys(names, 0)
    for number, second in enumerate(times):
        name = dice.choice(names)
        fraction = dice.choice((0.0, 0.35, 0.35, 0.62, 0.9))
        command: Json
        if made[name] == 0 or number == 0:
            command = {"do": "create", "object": _cron_job(dice, name, schedules)}
            made[name] = 1
        else:
            command = _command(dice, name, schedules)
        commands.append({"at": second + fraction, "name": name, **command})
    return {"begin": int(begin.timestamp()), "commands": commands, "until": float(span_s + dice.randrange(60, 900))}


def _command(dice: Random, name: str, schedules: tuple[str, ...]) -> Json:
    what = dice.choices(
        ("begin", "end", "remove", "patch", "delete", "leave", "create", "job", "quota", "stop", "start"),
        (10, 34, 7, 30, 2, 1, 2, 6, 3, 4, 7),
    )[0]
    match what:
        case "begin" | "remove":
            return {"do": what, "pick": dice.randrange(60)}
        case "end":
            return {"do": what, "pick": dice.randrange(60), "end": dice.choice(("Complete", "Complete", "Failed"))}
        case "patch":
            return {"do": what, "spec": _change(dice, schedules)}
        case "create":
            return {"do": what, "object": _cron_job(dice, name, schedules)}
        case "job":
            return {"do": what, "ahead": dice.choice((0, 1, 1, 2, 5)), "owned": dice.random() < 0.5}
    return {"do": what}


def _change(dice: Random, schedules: tuple[str, ...]) -> Json:
    spec: Json
    match dice.randrange(8):
        case 0 | 1:
            spec = {"suspend": dice.random() < 0.45}
        case 2:
            spec = {"schedule": _schedule(dice, schedules)}
        case 3:
            spec = {"timeZone": dice.choice((*ZONES, None))}
        case 4:
            spec = {"concurrencyPolicy": dice.choice(("Allow", "Forbid", "Replace"))}
        case 5:
            spec = {"startingDeadlineSeconds": _deadline(dice)}
        case 6:
            spec = {dice.choice(("successfulJobsHistoryLimit", "failedJobsHistoryLimit")): dice.randrange(0, 4)}
        case _:
            spec = {"jobTemplate": _template(dice)}
    return {"spec": spec}


def _schedule(dice: Random, schedules: tuple[str, ...]) -> str:
    return dice.choice(NEVER) if dice.random() < 0.03 else dice.choice(schedules)


def _deadline(dice: Random) -> int | None:
    return dice.choice((None, 0, 1, 10, 59, 60, 61, 200, 3600, 100_000))


def _template(dice: Random) -> Json:
    labels = {"run": dice.choice(("a", "b"))}
    container = {"name": "app", "image": f"app:{dice.randrange(1, 4)}"}
    pod = {"spec": {"restartPolicy": "Never", "containers": [container]}}
    return {"metadata": {"labels": labels, "annotations": {"note": dice.choice("xyz")}}, "spec": {"template": pod}}


def _cron_job(dice: Random, name: str, schedules: tuple[str, ...]) -> Json:
    spec: Json = {
        "schedule": _schedule(dice, schedules),
        "concurrencyPolicy": dice.choice(("Allow", "Allow", "Forbid", "Replace")),
        "suspend": dice.random() < 0.12,
        "successfulJobsHistoryLimit": dice.choice((3, 3, 1, 0)),
        "failedJobsHistoryLimit": dice.choice((1, 1, 0, 2)),
        "jobTemplate": _template(dice),
    }
    if dice.random() < 0.35:
        spec["timeZone"] = dice.choice(ZONES)
    if (deadline := _deadline(dice)) is not None and dice.random() < 0.4:
        spec["startingDeadlineSeconds"] = deadline
    return {"metadata": {"name": name}, "spec": spec}
