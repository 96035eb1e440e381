"""Release of a job at a participant: it asks the holders until its result is whole.

Two parties or more hold each component of an output. A receiver asks all and compares what they hand out
with what they committed to before the reveal: one that hands out anything else is named, with its message
kept, and no result is committed. One that is away costs nothing: another has the same.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor

from chain.primitives.crypto import PrivateKey
from chain.primitives.errors import AssentError
from chain.primitives.values import Value
from privcompute.errors import HolderRefused, PartiesStalled, PeerGone, PeerMisbehaved, ProgramFault
from privcompute.job.enforcement import JobRefusal
from privcompute.job.holding import HandedPart, HeldShares, component_label, held_labels
from privcompute.job.view import JobView
from privcompute.mpc.opening import COMPONENTS, component_commitment, open_components
from privcompute.net.asking import ask
from privcompute.net.cancellation import Cancellation
from privcompute.net.transport import Peer
from privcompute.pages.releases import results

AGAIN_S = (0.1, 5.0)
"""First and greatest pause before a holder is asked again."""
OTHER_HOLDER_S = 5.0
"""How long the second holder of a share is waited for when the first has handed it out."""
HANDED_BYTES_MAX = 1 << 29
"""Longest answer to somebody who has lost what would tell its length."""

AskParty = Callable[[int], Awaitable[dict[str, bytes]]]


class Asker:
    """Whom a participant asks, and as whom; a context that ends what is still asked when it is left."""

    def __init__(
        self, view: JobView, me: int, peers: Mapping[int, Peer], key: PrivateKey, most: int | None
    ) -> None:
        """`most` is the longest answer in bytes, None when we cannot tell."""
        self._most = HANDED_BYTES_MAX if most is None else most
        self._job, self._me, self._peers, self._key = bytes.fromhex(view.id), me, peers, key
        self._threads = ThreadPoolExecutor(max(1, len(peers)), thread_name_prefix="ask")
        self._left = Cancellation()

    def __enter__(self) -> Asker:
        return self

    def __exit__(self, *_: object) -> None:
        self._left.cancel("the release is over")
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def __call__(self, party: int) -> dict[str, bytes]:
        """Ask one party once."""
        asked = (self._job, self._me, party, self._peers[party], self._key, self._most, self._left)
        return await asyncio.get_running_loop().run_in_executor(self._threads, ask, *asked)


class ShareDiffers(PeerMisbehaved):
    """A holder that hands out another share than it committed to; `given` is what it sent: evidence."""

    def __init__(self, party: int, label: str, committed: bytes, given: bytes) -> None:
        super().__init__(
            party,
            f"party {party} hands out another {label} than it committed to before the reveal; its message is"
            " kept in our evidence",
        )
        self.label, self.committed, self.given = label, committed, given


class Components:
    """What a receiver has of the components of the outputs that are for it."""

    def __init__(
        self, profile: str, me: int, commitments: Mapping[str, bytes], own: Mapping[str, bytes]
    ) -> None:
        """`own` are the records that we hold, by label."""
        self._profile, self._audience, self._commitments = profile, str(me), commitments
        self.records: dict[int, bytes] = {}
        for number in range(COMPONENTS[profile]):
            record = own.get(component_label(number, self._audience))
            if record is not None:
                self.records[number] = record

    @property
    def whole(self) -> bool:
        """All components are there."""
        return len(self.records) == COMPONENTS[self._profile]

    def take(self, party: int, messages: Mapping[str, bytes]) -> bool:
        """Compare what a holder hands out with its commitments; tell whether it has handed out all of it."""
        theirs = held_labels(self._profile, party, self._audience)
        for number in range(COMPONENTS[self._profile]):
            label = component_label(number, self._audience)
            record = messages.get(label)
            if record is None or label not in theirs:
                continue
            committed = self._commitments[label]
            if component_commitment(record) != committed:
                raise ShareDiffers(party, label, committed, record)
            self.records[number] = record
        return theirs <= set(messages)


async def gather(
    parties: Iterable[int],
    ask_party: AskParty,
    gathered: Components,
    seconds: float,
    other_s: float,
) -> None:
    """Ask these parties until what is gathered is whole, and `other_s` more for those not heard yet.

    Raises PeerMisbehaved at once, and PeerGone or PartiesStalled when `seconds` are over.
    """
    problems: dict[int, str] = {}
    asking = {asyncio.create_task(_ask_until_done(party, ask_party, gathered, problems)) for party in parties}
    try:
        async with asyncio.timeout(seconds):
            while asking and not gathered.whole:
                done, asking = await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
                _raise_of(done)
        if not gathered.whole:
            raise ProgramFault("the holders have handed out all they have, and it is no whole output")
        if asking:
            done, asking = await asyncio.wait(asking, timeout=other_s)
            _raise_of(done)
    except TimeoutError:
        raise _late(problems, seconds) from None
    finally:
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)


def _raise_of(done: Iterable[asyncio.Task[None]]) -> None:
    for task in done:
        task.result()


async def _ask_until_done(
    party: int, ask_party: AskParty, gathered: Components, problems: dict[int, str]
) -> None:
    pause, greatest = AGAIN_S
    while True:
        problems.setdefault(party, "it was not heard of")
        with contextlib.suppress(PeerGone, HolderRefused):
            try:
                messages = await ask_party(party)
            except (PeerGone, HolderRefused) as error:
                problems[party] = str(error)
                raise
            if gathered.take(party, messages):
                del problems[party]
                return
            problems[party] = f"party {party} has not all of it itself yet, or lost it"
        await asyncio.sleep(pause)
        pause = min(2 * pause, greatest)


def _late(problems: Mapping[int, str], seconds: float) -> AssentError:
    texts = "; ".join(problems.values())
    if len(problems) == 1:
        return PeerGone(next(iter(problems)), f"nothing whole in {seconds:.0f} s: {texts}")
    return PartiesStalled(tuple(sorted(problems)), f"nothing whole in {seconds:.0f} s: {texts}")


def make_offer(view: JobView, org: str, holding: HeldShares | None) -> HandedPart | None:
    """Return what we hand out of a job, None when we hold nothing of it."""
    return None if holding is None else HandedPart(holding, view.party[org])


async def gather_result(
    asker: Asker,
    view: JobView,
    me: int,
    offer: HandedPart | None,
    commitments: Mapping[str, bytes],
    seconds: float,
) -> Value | None:
    """Ask the holders for what is for us; return the result when we are a receiver.

    Raises JobRefusal when what we would need is lost here, PeerMisbehaved, PeerGone or PartiesStalled.
    """
    receives = me in view.receiver_parties
    others = [party for party in range(len(view.spec.participants)) if party != me]
    if not receives:
        return None
    if not commitments:
        raise JobRefusal("AGENT_RESTARTED", "this agent restarted, and does not know what was committed to")
    profile = view.spec.profile
    components = Components(profile, me, commitments, {} if offer is None else offer.holding.components)
    await gather(others, asker, components, seconds, OTHER_HOLDER_S)
    return results(*open_components(bytes.fromhex(view.id), profile, components.records))
