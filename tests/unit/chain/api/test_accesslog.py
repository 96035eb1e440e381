"""The access log: a line a call tells who, what and how it ended, bounded whatever clients and disks do."""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import os
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from chain.api import accesslog
from chain.api.accesslog import BURST_S, ROOM_LEAST, SHARE, AccessLog, LoggedCall, subject_of
from chain.api.methods.table import method_table
from chain.api.params import CallView, SendOne, SessionRequest, StateEntry
from chain.api.principals import KnownPrincipals
from chain.api.tokens import TokenFile, save_tokens
from chain.primitives.errors import ConfigError
from tests.unit.chain.api.rpc_port import a_call, serving
from tests.unit.chain.api.test_principals import Clock, NoSessions, a_token, answered, bearer, called
from tests.unit.chain.api.test_principals import post as request_of

RATE = 8


class Kept:
    """An access log over a clock and a disk that tests steer."""

    def __init__(self, folder: Path, *, shared: bool = True) -> None:
        self.path, self.time, self.room, self.lost = folder / "access.log", 0.0, ROOM_LEAST, 0
        self.log = AccessLog(
            self.path, RATE, shared=shared, now=lambda: self.time, wall_ms=lambda: 0,
            lost=self._count, room=lambda _: self.room,
        )  # fmt: skip

    def _count(self, number: int) -> None:
        self.lost += number

    def note(self, who: str = "token:ci", method: str = "getState", about: str = "x") -> None:
        self.log.note(LoggedCall(who, method, {"name": about}, "ok", 1.25, "10.0.0.7"))

    async def written(self) -> list[dict[str, Any]]:
        self.log.flush()
        if self.log._writing is not None:
            await self.log._writing
        return lines_of(self.path)


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


async def test_each_call_leaves_a_line_with_who_what_and_how_it_ended_and_no_secret(tmp_path: Path) -> None:
    save_tokens(tmp_path / "tokens.json", (a_token("ci", "read"),))
    who = KnownPrincipals(TokenFile(tmp_path / "tokens.json"), "root", NoSessions(), Clock().wall_ms)
    kept = Kept(tmp_path)
    async with serving(who, access=kept.log) as port:
        batch = b"[" + b",".join([a_call("guarded words"), a_call(method="hang"), a_call(5)]) + b"]"
        await called(port, batch, bearer("ci"))
        await called(port, a_call("fault"), bearer("root"))
        await called(port, a_call("declared"), bearer("root"))
        await called(port, a_call(method="none"), bearer("root"))
        await called(port, a_call(), bearer("root"))
        await called(port, a_call("x"))
        await called(port, b"{", bearer("root"))
        assert (await answered(port, request_of(a_call("x"), bearer("a wrong secret")))).status == 401
    lines = lines_of(kept.path)
    assert [(line["principal"], line["method"], line["outcome"]) for line in lines] == [
        ("token:ci", "echo", "ok"),
        ("token:ci", "hang", "forbidden"),
        ("token:ci", "echo", "bad_params"),
        ("operator", "echo", "internal"),
        ("operator", "echo", "malformed"),
        ("operator", "none", "unknown_method"),
        ("operator", "echo", "bad_params"),
        ("nobody", "echo", "unauthorized"),
        ("operator", "", "no_json"),
        ("nobody", "", "http_401"),
    ]
    assert all(line["address"] == "127.0.0.1" and 0 <= line["ms"] < 60_000 for line in lines)
    text = kept.path.read_text()
    assert not [word for word in ("guarded", "wrong secret", "root") if word in text]
    assert kept.path.stat().st_mode & 0o777 == 0o600


async def test_what_a_subscription_follows_is_told_once_it_is_taken(tmp_path: Path) -> None:
    kept = Kept(tmp_path, shared=False)
    async with serving(access=kept.log) as port, aiohttp.ClientSession() as session:
        socket = await session.ws_connect(port.url + "/ws")
        for params in ({"count": 0, "subject": "org:bank"}, ["org:bank"]):
            await socket.send_json({"jsonrpc": "2.0", "id": 1, "method": "subscribe", "params": params})
            await socket.receive_json()
    told = [(line["about"], line["outcome"]) for line in lines_of(kept.path)]
    assert told == [({"subject": "org:bank"}, "ok"), ({}, "bad_params")]


def test_what_a_call_is_about_are_names_and_ids_and_never_what_it_carries() -> None:
    view = CallView(contract="datasets", method="find", args={"who": "secret"})
    assert subject_of(view) == {"contract": "datasets", "method": "find"}
    entry = StateEntry(contract="grants", map="grants", key={"secret": 1}, height=7)
    assert subject_of(entry) == {"contract": "grants", "map": "grants", "height": 7}
    assert subject_of(SendOne(transaction="abcd")) == {}
    forged = StateEntry(contract="grants map=grants outcome=ok", map="m", key=1)
    assert subject_of(forged) == {"contract": "grants map=grants outcome=ok", "map": "m"}
    followed = {"kind": "events", "subject": "org:bank", "secret": "x"}
    assert subject_of(followed) == {"subject": "org:bank"}
    proof = SessionRequest(key="ab" * 32, challenge="cd" * 40, signature="ef" * 64)
    assert subject_of(proof) == {"key": "ab" * 32}


def test_no_parameter_that_is_written_down_can_hold_other_values_than_names_heights_and_ids() -> None:
    """A new parameter of a name in ABOUT is looked at here before its values reach a file."""
    for method in method_table(_Node()).values():
        for name, field in method.params.model_fields.items():
            assert name not in accesslog.ABOUT or field.annotation is not Any, method.params


class _Node:
    def __getattr__(self, _: str) -> Any:
        return self


async def test_hostile_words_stay_on_their_line_are_visible_and_bounded(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    kept.note(method='x\n{"principal": "operator"}\x1b[2J\u202e\udc80', about="s" * 100_000)
    (line,) = await kept.written()
    assert line["method"].startswith("x\n{")
    assert len(line["about"]["name"]) == 128
    raw = kept.path.read_bytes()
    assert raw.count(b"\n") == 1
    assert raw[:-1].decode().isprintable()
    assert len(raw) < 1_000


async def test_a_flood_fills_no_disk_and_keeps_no_other_principal_out_of_the_log(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    for _ in range(5_000):
        kept.note("nobody")
    kept.note("operator")
    most = RATE * BURST_S // SHARE
    counts = Counter(line.get("principal") for line in await kept.written())
    assert counts == {"nobody": most, "operator": 1, None: 1}
    assert lines_of(kept.path)[-1]["leftOut"] == {"nobody": 5_000 - most}
    assert kept.lost == 5_000 - most
    for second in range(1, 31):
        kept.time = float(second)
        for who in range(200):
            kept.note(f"token:{who}")
    written = [line for line in await kept.written() if str(line.get("principal")).startswith("token:")]
    assert len(written) <= RATE * (BURST_S + 31)
    told = lines_of(kept.path)[-1]["leftOut"]
    assert len(told) <= accesslog.NAMED_MAX + 1
    assert sum(told.values()) == 30 * 200 - len(written)


async def test_where_nobody_is_asked_who_he_is_the_one_client_has_all_lines(tmp_path: Path) -> None:
    kept = Kept(tmp_path, shared=False)
    for _ in range(RATE * BURST_S):
        kept.note("local")
    assert len(await kept.written()) == RATE * BURST_S


async def test_lines_that_wait_for_a_disk_that_hangs_are_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accesslog, "WAITING_BYTES_MAX", 300)
    kept = Kept(tmp_path)
    for _ in range(10):
        kept.note()
    assert kept.log._waiting_bytes < 300 + 200
    assert kept.lost >= 7


async def test_a_full_disk_gets_no_line_is_told_once_and_is_written_again_when_there_is_room(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kept = Kept(tmp_path)
    kept.room = ROOM_LEAST - 1
    for second in range(20):
        kept.time = float(second)
        kept.note()
        assert await kept.written() == []
    kept.room = ROOM_LEAST
    kept.note()
    assert len(await kept.written()) == 1
    assert kept.lost == 20
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert len(told) == 1
    assert "gets no line (536870911 bytes are left on its disk, at least 536870912 stay free)" in told[0]


async def test_a_line_that_a_disk_took_half_of_spoils_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, write = Kept(tmp_path), os.write
    kept.note()
    monkeypatch.setattr(accesslog.os, "write", lambda file, text: write(file, text[:20]))
    kept.log.flush()
    assert kept.log._writing is not None
    assert await kept.log._writing
    monkeypatch.setattr(accesslog.os, "write", _full)
    kept.note()
    kept.log.flush()
    assert "No space" in await kept.log._writing
    monkeypatch.setattr(accesslog.os, "write", write)
    kept.note(method="getCode")
    kept.log.flush()
    await asyncio.gather(kept.log._writing)
    half, whole = kept.path.read_text().splitlines()
    assert len(half) == 20
    assert json.loads(whole)["method"] == "getCode"
    assert kept.lost == 2


def _full(*_: Any) -> int:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


async def test_after_a_rotation_the_file_is_opened_anew_where_it_was(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    kept.note(method="before")
    await kept.written()
    kept.path.rename(tmp_path / "access.log.1")
    kept.log.reopen()
    kept.note(method="after")
    assert [line["method"] for line in await kept.written()] == ["after"]
    assert [line["method"] for line in lines_of(tmp_path / "access.log.1")] == ["before"]
    kept.path.rename(tmp_path / "access.log.2")
    (tmp_path / "access.log").mkdir()  # nothing can be opened there: the old file goes on, and is tried again
    kept.log.reopen()
    kept.note(method="lost")
    kept.log.flush()
    assert kept.log._writing is not None
    assert await kept.log._writing == "Is a directory"
    kept.path.rmdir()
    kept.note(method="again")
    assert [line["method"] for line in await kept.written()] == ["again"]
    await kept.log.close()


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda path: path.mkdir(), "Is a directory"),
        (lambda path: os.mkfifo(path), "No such device or address"),
        (lambda path: path.symlink_to("/dev/null"), "not a regular file"),
        (lambda path: path.parent.rmdir(), "No such file or directory"),
    ],
)
def test_a_file_that_cannot_be_written_is_named_at_the_start(tmp_path: Path, make: Any, why: str) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    make(folder / "access.log")
    with pytest.raises(ConfigError, match=rf"files\.access_log = .*access\.log: cannot be written \({why}\)"):
        Kept(folder)
