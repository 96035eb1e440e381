"""Shared parts of the commands: calls, times, and names of things on the ledger."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from pathlib import Path

import click

from chain.client import calls
from chain.client.calls import result_of
from chain.client.client import Client
from chain.client.options import AS_VARIABLE, NoSession, Session
from chain.ledger.block import Receipt
from chain.primitives.errors import AssentError
from chain.primitives.jsonvalue import to_json
from chain.primitives.values import Value
from privcompute.config import AgentConfig, AgentFiles, load_agent_config

GAS_LIMIT = 8_000_000
_UNITS_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


class UsageFault(AssentError):
    """An option or argument that cannot be used: the text names it, its value and what is allowed."""

    code = "usage"


def agent_of_folder() -> tuple[AgentConfig, AgentFiles]:
    """Return the agent configuration of the organisation that the command speaks as (`--as`)."""
    folder = click.get_current_context().params.get("as_")
    if not isinstance(folder, Path):
        raise NoSession(
            f"this command works on an organisation's data: give --as ORGDIR (or set {AS_VARIABLE})"
        )
    return load_agent_config(folder / "agent.toml")


def organisation_of(folder: Path | None) -> str:
    """Return the organisation of a folder; raise UsageFault where there is no folder."""
    if folder is None:
        raise UsageFault("whose grants? give --org ORG, or --as ORGDIR")
    return load_agent_config(folder / "agent.toml")[0].organisation


def send(session: Session, contract: str, method: str, args: dict[str, Value]) -> Receipt:
    """Send one call as the session's organisation and return its receipt; raise RefusedByLedger."""
    return calls.send(session, contract, method, args, GAS_LIMIT)


def sent_json(receipt: Receipt, **more: Value) -> Value:
    """Return what `--json` prints for a call that the ledger executed."""
    return {
        "tx": receipt.tx_id.hex(),
        "height": receipt.height,
        "result": to_json(result_of(receipt)),
        **more,
    }


async def need_state(client: Client, contract: str, map_name: str, key: Value, remedy: str) -> Value:
    """Return one proved entry; raise UsageFault with a remedy when the ledger has none."""
    found = await client.state(contract, map_name, key)
    if found is None:
        shown = key if isinstance(key, str) else " ".join(str(part) for part in key)
        raise UsageFault(f"{shown!r}: the ledger has no such entry in {contract}.{map_name}; {remedy}")
    return found


async def find_job(client: Client, prefix: str) -> str:
    """Return the one job id that begins with these hex digits (at least 4)."""
    if re.fullmatch(r"[0-9a-f]{64}", prefix):
        return prefix
    if not re.fullmatch(r"[0-9a-f]{4,63}", prefix):
        raise UsageFault(f"{prefix!r}: a job is named by 4 to 64 hex digits; see: assent job list")
    found = [key async for key, _ in client.entries("jobs", "jobs") if key.startswith(prefix)]
    if len(found) != 1:
        raise UsageFault(f"{prefix!r}: {len(found)} jobs begin so; see: assent job list")
    return str(found[0])


def parse_time(text: str, option: str) -> int:
    """Return milliseconds since the epoch for `30d`, `12h`, `45m`, `90s` from now, or an ISO date or time."""
    relative = re.fullmatch(r"([0-9]{1,9})([smhd])", text)
    if relative:
        return time.time_ns() // 1_000_000 + int(relative[1]) * _UNITS_MS[relative[2]]
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageFault(
            f"{option} {text!r}: give 30d, 12h, 45m or 90s from now, or a date such as 2030-01-31"
        ) from None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1_000)


def parse_duration(text: str, option: str) -> int:
    """Return milliseconds for `90s`, `10m`, `12h` or `30d`."""
    match = re.fullmatch(r"([0-9]{1,9})([smhd])", text)
    if not match:
        raise UsageFault(f"{option} {text!r}: give a duration such as 90s, 10m, 12h or 30d")
    return int(match[1]) * _UNITS_MS[match[2]]


def show_time(ms: int) -> str:
    """Return a readable UTC time; "" for 0."""
    return datetime.fromtimestamp(ms / 1_000, UTC).strftime("%Y-%m-%d %H:%M:%S") if ms else ""


def pairs(items: tuple[str, ...], option: str, default: str) -> dict[str, str]:
    """Return `name=value` options as a dict; a bare name gets the default."""
    found: dict[str, str] = {}
    for item in items:
        name, _, value = item.rpartition("=") if "=" in item else (item, "=", default)
        if not name or not value or name in found:
            raise UsageFault(f"{option} {item!r}: give NAME=VALUE, each name once")
        found[name] = value
    return found
