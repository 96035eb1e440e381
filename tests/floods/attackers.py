"""Starting and ending the processes of attackers."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from tests.floods.target import GRACE_S, FloodsFailed, Target

ROOT = Path(__file__).parents[2]


class Attackers:
    """The processes that attack; each prepares everything first and begins when told.

    Each has a session of its own, like each node: Linux may share processors among sessions first
    (`sched_autogroup`), and an attack must not starve its honest clients in the measuring process instead.
    """

    def __init__(self, groups: list[list[str]], target: Target) -> None:
        self._groups, self._target = [group for group in groups if group], target
        self._running: list[asyncio.subprocess.Process] = []

    async def __aenter__(self) -> Attackers:
        try:
            for names in self._groups:
                self._running.append(await self._start(names))
            for names, process in zip(self._groups, self._running, strict=True):
                assert process.stdout is not None
                if (await process.stdout.readline()).strip() != b"ready":
                    raise FloodsFailed(f"the attacker of {names} did not start")
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def _start(self, names: list[str]) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.floods.attacker", *names,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, cwd=ROOT, limit=2**24,
            start_new_session=True,
        )  # fmt: skip
        assert process.stdin is not None
        process.stdin.write(self._target.encode().encode() + b"\n")
        return process

    async def __aexit__(self, *_: object) -> None:
        for process in self._running:
            if process.returncode is None:
                process.kill()
        for process in self._running:
            await process.wait()

    def begin(self) -> None:
        """Let all of them attack."""
        for process in self._running:
            assert process.stdin is not None
            process.stdin.write(b"go\n")

    async def tallies(self) -> dict[str, Any]:
        """End them; return what they report."""
        found: dict[str, Any] = {}
        for process in self._running:
            assert process.stdin is not None
            process.stdin.close()
            assert process.stdout is not None
            line = await asyncio.wait_for(process.stdout.readline(), 3 * GRACE_S)
            if not line:
                raise FloodsFailed("an attacker ended without a report")
            found |= json.loads(line)
        return found
