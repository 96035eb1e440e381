"""The acts: what is done to real processes for each kind of fault, and how it is undone."""

from __future__ import annotations

import asyncio
import signal
import time
from typing import TYPE_CHECKING, Any

from chain.cli.rejoin import rejoin
from chain.client.options import open_session
from chain.primitives.errors import AssentError, Exit
from tests.torture.faults import Fault
from tests.torture.load import until
from tests.torture.nodes import NodeProcess
from tests.torture.verdict import TortureFailed

if TYPE_CHECKING:
    from tests.torture.campaign import Campaign

CALM_S = 60.0
REJOIN_S = 1.0
"""Between two attempts of a wiped node to move its seat."""
FULL_DISK_S = 30.0


class Acts:
    """Inflicts faults on the nodes of one campaign."""

    def __init__(self, campaign: Campaign) -> None:
        self.campaign, self.say, self.node = campaign, campaign.say, campaign.node

    async def inflict(self, fault: Fault) -> None:
        """Do one fault and undo it; the nodes count as affected until they answer again."""
        self.campaign.done[fault.kind] += 1
        acts = {
            "kill": self._kill, "kill all": self._kill, "pause": self._pause, "disconnect": self._cut,
            "split": self._split, "silence": self._silence, "slow": self._slow, "one wire": self._one_wire,
            "full disk": self._full_disk, "truncated log": self._truncated_log,
            "truncated records": self._truncated_records,
        }  # fmt: skip
        try:
            await acts[fault.kind](fault)
        except TortureFailed as error:
            self.campaign.failure = self.campaign.failure or str(error)
        except Exception as error:  # the campaign's own fault: say so, and end
            self.campaign.failure = (
                self.campaign.failure or f"the fault {fault.kind!r} of the campaign failed: {error!r}"
            )
        finally:
            self.campaign.affected -= set(fault.nodes)
            if self.campaign.is_beyond(fault):
                self.campaign.calm_since = time.monotonic()

    async def _kill(self, fault: Fault) -> None:
        names = ", ".join(fault.nodes)
        self.say(f"SIGKILL {names}; back in {fault.seconds} s")
        for name in fault.nodes:
            self.node(name).kill()
        await asyncio.sleep(fault.seconds)
        count = len(fault.nodes)
        await asyncio.gather(
            *[self.node(name).start(self.campaign.session, fault.kind, count) for name in fault.nodes]
        )
        took = max(self.node(name).starts[-1].answers_s for name in fault.nodes)
        self.say(f"{names}: answers {took:.2f} s after its start")

    async def _pause(self, fault: Fault) -> None:
        node = self.node(fault.nodes[0])
        self.say(f"SIGSTOP {node.name} for {fault.seconds} s")
        node.signal(signal.SIGSTOP)
        await asyncio.sleep(fault.seconds)
        node.signal(signal.SIGCONT)
        self.say(f"SIGCONT {node.name}")

    async def _cut(self, fault: Fault) -> None:
        self.say(f"disconnect {fault.nodes[0]} for {fault.seconds} s")
        await self._hold(self.campaign.wires.of(fault.nodes[0]), fault.seconds, cut=True)
        self.say(f"{fault.nodes[0]} may connect again")

    async def _silence(self, fault: Fault) -> None:
        self.say(f"silence {fault.nodes[0]}: its connections stay, nothing passes, for {fault.seconds} s")
        await self._hold(self.campaign.wires.of(fault.nodes[0]), fault.seconds, silent=True)
        self.say(f"{fault.nodes[0]} is heard again")

    async def _slow(self, fault: Fault) -> None:
        delay, rate = 0.02 + 0.3 * fault.share, int(20_000 + 200_000 * (1 - fault.share))
        self.say(f"slow {fault.nodes[0]}: {delay * 1000:.0f} ms, {rate // 1000} kB/s, for {fault.seconds} s")
        await self._hold(
            self.campaign.wires.of(fault.nodes[0]), fault.seconds, delay_s=delay, bytes_per_s=rate
        )
        self.say(f"{fault.nodes[0]} is fast again")

    async def _one_wire(self, fault: Fault) -> None:
        a, b = fault.nodes
        cut = fault.share < 0.5
        self.say(f"{'cut' if cut else 'silence'} the wire {a}–{b} for {fault.seconds} s")
        await self._hold([self.campaign.wires.between(a, b)], fault.seconds, cut=cut, silent=not cut)
        self.say(f"the wire {a}–{b} is whole again")

    async def _split(self, fault: Fault) -> None:
        others = [node.name for node in self.campaign.nodes if node.name not in fault.nodes]
        self.say(f"split {', '.join(fault.nodes)} | {', '.join(others)} for {fault.seconds} s")
        across = [self.campaign.wires.between(a, b) for a in fault.nodes for b in others]
        await self._hold(across, fault.seconds, cut=fault.share < 0.5, silent=fault.share >= 0.5)
        self.say("the halves are joined again")

    async def _hold(self, wires: list[Any], seconds: float, **how: Any) -> None:
        for wire in wires:
            wire.set(**how)
        await asyncio.sleep(seconds)
        for wire in wires:
            wire.set()

    async def _full_disk(self, fault: Fault) -> None:
        node = self.node(fault.nodes[0])
        self.campaign.disk = node.fill_disk()
        self.say(f"full disk at {node.name}: {self.campaign.disk}")
        code = await node.ends(FULL_DISK_S)
        if code is None:
            node.free_disk()
            raise TortureFailed(f"{node.name}: goes on {FULL_DISK_S:.0f} s after its disk was full")
        self._expect_refusal(node, code, "storage_failed", "free")
        self.say(f"{node.name} stopped: {_last_error(node)}")
        if node.small_disk is not None:
            node.spawn()
            if await node.answers(self.campaign.session):
                self.campaign.outcomes["full disk: still room to start"] += 1
            else:
                self._expect_refusal(node, await node.ends(10), "storage_failed", "free")
                self.campaign.outcomes["full disk: refused to start until there was room"] += 1
            node.kill()
            node.free_disk()
        await node.start(self.campaign.session, fault.kind)
        self.say(f"{node.name}: there is room again; answers after {node.starts[-1].answers_s:.2f} s")

    async def _truncated_log(self, fault: Fault) -> None:
        node = self.node(fault.nodes[0])
        await until(lambda: node.newest_log().stat().st_size > 0, CALM_S, f"{node.name} writes")
        node.kill()
        name, lost = node.truncate_log(fault.share)
        self.say(f"SIGKILL {node.name}; {lost} bytes cut from the end of its {name}")
        node.spawn()
        if await node.answers(self.campaign.session):
            self.campaign.outcomes["truncated log: nothing promised was lost"] += 1
            self.say(f"{node.name} starts: no vote was lost")
            return
        code = await node.ends(10)
        text = node.log.read_text(errors="replace")
        refusal = "votes_damaged" if "votes_damaged" in text else "data_damaged"
        self._expect_refusal(node, code, refusal, "rejoin" if refusal == "votes_damaged" else "remove")
        self.campaign.outcomes[f"truncated log: {refusal}, wiped and caught up"] += 1
        await self._wiped(node, fault)

    async def _truncated_records(self, fault: Fault) -> None:
        node = self.node(fault.nodes[0])
        node.kill()
        name, lost = node.truncate_records(fault.share)
        self.say(f"SIGKILL {node.name}; {lost} bytes cut from the end of its {name}")
        node.spawn()
        if await node.answers(self.campaign.session):
            self.campaign.outcomes["truncated records: no row knew what was cut"] += 1
            self.say(f"{node.name} starts: no row knew what was cut")
            return
        self._expect_refusal(node, await node.ends(10), "data_damaged", "remove")
        self.campaign.outcomes["truncated records: data_damaged, wiped and caught up"] += 1
        await self._wiped(node, fault)

    async def _wiped(self, node: NodeProcess, fault: Fault) -> None:
        """Do what a refusal to start says, and wait until the node is of use again."""
        self.say(f"{node.name} refuses: {_last_error(node)}")
        node.wipe()
        await node.start(self.campaign.session, fault.kind)
        target = self.campaign.load.height
        self.say(f"{node.name}: wiped as it says; catching up to {target}")
        took = await until(
            lambda: self.campaign.shown.get(node.name, 0) >= target, CALM_S, f"{node.name} catches up"
        )
        # Its key is muted until its epoch ends: the seat moves to a key that has never voted.
        await self._rejoin(node)
        self.campaign.phases.pop(node.name, None)
        silent = ("", "listening", "behind", "muted")
        await until(
            lambda: self.campaign.phases.get(node.name, "") not in silent, CALM_S, f"{node.name} votes again"
        )
        self.say(f"{node.name} is at {target} again after {took:.1f} s, and votes again")

    async def _rejoin(self, node: NodeProcess) -> None:
        """Move the seat of a wiped node as its operator would; the ledger may find it too soon at first."""
        async with (
            asyncio.timeout(CALM_S),
            open_session(node.org.path, None, None, None).account() as account,
        ):
            while True:
                try:
                    self.say(str(await rejoin(account)))
                    self.campaign.setup += 1  # a transaction that counts nothing
                    return
                except AssentError as error:
                    self.say(f"{node.name} cannot rejoin yet: {error}")
                    await asyncio.sleep(REJOIN_S)

    def _expect_refusal(self, node: NodeProcess, code: int | None, reason: str, remedy: str) -> None:
        text = node.log.read_text(errors="replace")
        wanted = Exit.IO if reason == "storage_failed" else Exit.DAMAGED
        if code != wanted or f"[{reason}]" not in text or remedy not in text:
            raise TortureFailed(
                f"{node.name}: exit status {code}, expected {wanted:d} and [{reason}] with {remedy!r}:\n"
                f"{node.tail()}"
            )


def _last_error(node: NodeProcess) -> str:
    lines = [line for line in node.tail(30).splitlines() if line.startswith("error [")]
    return lines[-1] if lines else node.tail(1)
