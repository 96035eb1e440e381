"""The aided join against plain sets, against parties that deviate, and what each party sees of it."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.cmac import CMAC
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.primitives.crypto import digest
from privcompute.errors import PartiesContradict, PeerMisbehaved, PeerTooLarge
from privcompute.mpc.local import run_local
from privcompute.mpc.protocols import aided
from privcompute.mpc.protocols.aided import AidedSpec, aided_join, help_join, key_of
from privcompute.mpc.protocols.digests import keyed_digests, texts_of
from privcompute.mpc.protocols.psi import PsiInputInvalid
from privcompute.mpc.protocols.records import Records, records_of
from privcompute.mpc.rounds import Round, Steps, as_round

PROPERTY = settings(max_examples=50, deadline=None, derandomize=True)
PAIRS = 1_000
CONTEXT = digest("test/aided", b"job")


def spec_of(owners: int, context: bytes = CONTEXT, **changes: Any) -> AidedSpec:
    return AidedSpec(context, tuple(range(owners)), owners, **{"block_records": 3} | changes)


def parties(
    spec: AidedSpec, lists: Sequence[Sequence[str]], seed: int = 7, **options: Any
) -> list[Steps[Any]]:
    """Return every party's steps, the helper last."""
    owners = [
        aided_join(spec, me, rows, random=random.Random(f"{seed}/{me}").randbytes, **options)
        for me, rows in enumerate(lists)
    ]
    return [*owners, help_join(spec, random=random.Random(f"{seed}/helper").randbytes, **options)]


def join(lists: Sequence[Sequence[str]], seed: int = 7, **changes: Any) -> list[list[str]]:
    found = run_local(parties(spec_of(len(lists), **changes), lists, seed)).results
    assert {len(rows) for rows in found[:-1]} == {found[-1]}
    return [[lists[me][row] for row in rows.tolist()] for me, rows in enumerate(found[:-1])]


id_lists = st.lists(
    st.lists(st.sampled_from([f"p{number}" for number in range(14)]), unique=True, max_size=12),
    min_size=2,
    max_size=4,
)


@PROPERTY
@given(id_lists, st.integers(1, 9))
def test_every_owner_gets_its_common_rows_in_one_order(lists: list[list[str]], block_records: int) -> None:
    aligned = join(lists, block_records=block_records)
    assert all(rows == aligned[0] for rows in aligned)
    assert sorted(aligned[0]) == sorted(set(lists[0]).intersection(*lists[1:]))


def test_the_order_is_another_one_in_each_run() -> None:
    names = [f"row{number}" for number in range(40)]
    assert join([names, names], seed=1)[0] != join([names, names], seed=2)[0]


def test_progress_counts_the_digests_that_are_sent_and_received() -> None:
    seen: list[tuple[str, int, int]] = []
    made = parties(spec_of(2), [["a", "b", "c", "d"], ["b"]], progress=lambda *step: seen.append(step))
    run_local(made)
    assert sorted(set(seen)) == [("aided", 1, 1), ("aided", 3, 4), ("aided", 4, 4)]


def test_texts_that_look_alike_are_different_rows() -> None:
    alike = ["7", "07", "7.0", "7 ", "７", "é", "e\u0301", "A", "А", "a", "true", "True", "0" * 16, "0" * 15]
    aligned = join([alike, [*alike[::-1][:10], "else"]])
    assert set(aligned[0]) == set(alike[4:])


def test_digests_that_agree_in_all_but_one_word_are_no_match(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted near collisions: of a row of each owner, half of the digest is the same."""

    def near(key: bytes, texts: Any) -> Records:
        made = keyed_digests(key, texts)
        for at, text in enumerate(texts.to_pylist()):
            if text.startswith("near"):
                made[at, int(text[4])] = np.uint64(5)
        return made

    monkeypatch.setattr(aided, "keyed_digests", near)
    for word in "01":
        aligned = join([["a", f"near{word}left", "b"], ["b", f"near{word}right", "a"]])
        assert set(aligned[0]) == {"a", "b"}


@pytest.mark.parametrize(("ids", "text"), [(["a", "b", "a"], "rows 0 and 2"), (["a", ""], "row 1")])
def test_identifiers_that_cannot_be_joined_are_refused_by_row_and_never_shown(
    ids: list[str], text: str
) -> None:
    with pytest.raises(PsiInputInvalid, match=text):
        join([ids, ["a", "b"]])


@pytest.mark.parametrize("refuses", [0, 1, 2])
def test_no_owner_learns_which_rows_are_common_before_every_party_agrees_to_their_number(
    refuses: int,
) -> None:
    told, learnt = list[int](), list[int]()

    def party(me: int) -> Steps[None]:
        def check(common: int) -> None:
            assert common == 2
            if me == refuses:
                raise PsiInputInvalid("too few")

        def agree(_: int) -> Steps[None]:
            others = [each for each in range(3) if each != me]
            yield Round(dict.fromkeys(others, b"1"), dict.fromkeys(others, 1))
            told.append(me)

        spec, lists = spec_of(2), [["a", "b"], ["b", "a", "c"]]
        yield from parties(spec, lists, check_common=check, agree=agree)[me]
        learnt.append(me)

    with pytest.raises(PsiInputInvalid, match="too few"):
        run_local([party(me) for me in range(3)])
    assert (told, learnt) == ([], [])


@pytest.mark.parametrize("refuses", [0, 2])
def test_a_list_longer_than_a_party_takes_is_refused_before_a_digest_of_it_is_awaited(refuses: int) -> None:
    def check(party: int, rows: int) -> None:
        if rows > 2:
            raise PeerTooLarge(party, "too many", 2)

    made = parties(spec_of(2), [["a", "b"], ["b", "a", "c"]], check_size=check)
    openings = [as_round(next(made[me])).send[refuses] if me != refuses else b"" for me in range(2)]
    next(made[refuses])
    with pytest.raises(PeerTooLarge, match="too many") as fault:
        made[refuses].send({me: memoryview(bytes(one)) for me, one in enumerate(openings) if me != refuses})
    assert fault.value.party == 1


# --- parties that deviate -----------------------------------------------------------------------------


def tampered(protocol: Steps[Any], step: int, change: Callable[[int, bytes], bytes]) -> Steps[Any]:
    """Run a party of which one step's messages are changed, by whom they go to."""
    number, yielded = 0, as_round(next(protocol))
    while True:
        send: Mapping[int, Any] = yielded.send
        if number == step:
            send = {party: change(party, bytes(message)) for party, message in send.items()}
        received = yield Round(send, yielded.receive, yielded.exact)
        try:
            number, yielded = number + 1, as_round(protocol.send(received))
        except StopIteration as stop:
            return stop.value


def deviates(who: int, step: int, change: Callable[[int, bytes], bytes]) -> None:
    """Run a join of two owners (0 and 1) and a helper (2) in which one deviates."""
    lists = [["a", "b", "c", "d"], ["b", "c", "e", "f", "g"]]
    made = parties(spec_of(2, block_records=8), lists)
    made[who] = tampered(made[who], step, change)
    run_local(made)


def flip(at: int, bit: int = 0) -> Callable[[int, bytes], bytes]:
    return lambda _, message: message[:at] + bytes([message[at] ^ 1 << bit]) + message[at + 1 :]


OF_OWNER = {"opening": 0, "commitment": 1, "part": 2, "digests": 3}
OF_HELPER = {"found": 2, "bits": 3}
SPOILS: dict[str, Callable[[bytes], bytes]] = {
    "cut": lambda message: message[:-1],
    "longer": lambda message: message + b"\0",
    "empty": lambda _: b"",
    "ones": lambda message: b"\xff" * len(message),
}


@pytest.mark.parametrize("name", OF_OWNER)
@pytest.mark.parametrize("spoil", SPOILS)
def test_a_malformed_message_names_the_owner_at_every_step(name: str, spoil: str) -> None:
    with pytest.raises(PeerMisbehaved, match="party 0") as fault:
        deviates(0, OF_OWNER[name], lambda _, message: SPOILS[spoil](message))
    assert fault.value.party == 0


@pytest.mark.parametrize("name", OF_HELPER)
@pytest.mark.parametrize("spoil", SPOILS)
def test_a_malformed_message_names_the_helper_at_every_step(name: str, spoil: str) -> None:
    with pytest.raises(PeerMisbehaved, match="party 2") as fault:
        deviates(2, OF_HELPER[name], lambda _, message: SPOILS[spoil](message))
    assert fault.value.party == 2


@pytest.mark.parametrize(
    "change",
    [
        lambda digests: digests[16:32] + digests[:16] + digests[32:],
        lambda digests: digests[:16] + digests[:16] + digests[32:],
    ],
)
def test_digests_out_of_order_or_twice_name_their_owner(change: Callable[[bytes], bytes]) -> None:
    with pytest.raises(PeerMisbehaved, match=r"party 1.*repeat, or are out of order"):
        deviates(1, OF_OWNER["digests"], lambda _, message: change(message))


def test_an_owner_that_picks_its_part_of_the_key_after_the_others_is_named() -> None:
    with pytest.raises(PeerMisbehaved, match="party 1 shows another part"):
        deviates(1, OF_OWNER["part"], lambda *_: bytes(32))


@pytest.mark.parametrize("bit", range(8))
def test_wrong_bits_name_the_helper(bit: int) -> None:
    """Another row, one more, one less, and rows beyond the list: 4 rows take 4 bits of a byte."""
    with pytest.raises(PeerMisbehaved, match="party 2 shows other common rows"):
        deviates(2, OF_HELPER["bits"], flip(32, bit))


@pytest.mark.parametrize("swap", [(0, 1), (0, 3), (1, 2)])
def test_other_rows_of_the_right_number_name_the_helper(swap: tuple[int, int]) -> None:
    def exchange(_: int, message: bytes) -> bytes:
        bits = np.unpackbits(np.frombuffer(message[32:], np.uint8))
        bits[list(swap)] = bits[list(swap[::-1])]
        changed = np.packbits(bits).tobytes()
        return message[:32] + (changed if changed != message[32:] else bytes(len(changed)))

    with pytest.raises(PeerMisbehaved, match="party 2 shows other common rows"):
        deviates(2, OF_HELPER["bits"], exchange)


def test_a_helper_that_tells_owners_different_things_is_one_of_two_before_rows_are_shown() -> None:
    with pytest.raises(PartiesContradict, match="party 2 told us of 2") as fault:
        deviates(2, OF_HELPER["found"], lambda to, message: flip(-3)(to, message) if to else message)
    assert set(fault.value.parties) in ({2, 0}, {2, 1})


def test_owners_of_different_jobs_notice_before_a_digest_is_sent() -> None:
    specs = [spec_of(2), spec_of(2, digest("test/aided", b"other"))]
    lists = [["a"], ["a"]]
    made = [parties(specs[me == 1], lists)[me] for me in range(3)]
    with pytest.raises(PeerMisbehaved, match="another join"):
        run_local(made)


# --- what each party sees -----------------------------------------------------------------------------


def recorded(protocol: Steps[Any], seen: list[bytes]) -> Steps[Any]:
    """Run a party, and keep what it receives."""
    step = as_round(next(protocol))
    while True:
        received = yield step
        seen.extend(bytes(received[sender]) for sender in sorted(received))
        try:
            step = as_round(protocol.send(received))
        except StopIteration as stop:
            return stop.value


class Ideal:
    """Keyed digests as independent random strings: what they are to whoever lacks the key."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self.of: dict[tuple[bytes, str], bytes] = {}
        self.keys: list[bytes] = []

    def __call__(self, key: bytes, texts: Any) -> Records:
        if key not in self.keys[-1:]:
            self.keys.append(key)
        made = []
        for text in texts.to_pylist():
            if (key, text) not in self.of:
                self.of[key, text] = self._random.randbytes(16)
            made.append(self.of[key, text])
        return records_of(b"".join(made), 16)


class NotCoupled(AssertionError):
    """No choice of what a party does not know makes two views equal."""


def view(observer: int, jobs: Sequence[Sequence[Sequence[str]]], seed: int) -> list[bytes]:
    """Return what a party receives in several jobs of the same owners."""
    seen: list[bytes] = []
    for number, lists in enumerate(jobs):
        spec = spec_of(len(lists), digest("test/aided", bytes([number])))
        made = parties(spec, lists, seed + 1_000_000 * number)
        made[observer] = recorded(made[observer], seen)
        run_local(made)
    return seen


def drawn(draw: random.Random) -> list[list[str]]:
    return [draw.sample([f"p{number}" for number in range(12)], draw.randrange(0, 9)) for _ in range(2)]


def renamed(draw: random.Random, lists: Sequence[Sequence[str]]) -> tuple[list[list[str]], dict[str, str]]:
    """Return other lists of the same sizes and common parts, in another order, and what was called what."""
    names = sorted({one for rows in lists for one in rows})
    other = dict(zip(names, draw.sample([f"p{number}" for number in range(40)], len(names)), strict=True))
    made = [draw.sample([other[one] for one in rows], len(rows)) for rows in lists]
    return made, {after: before for before, after in other.items()}


def couple(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Show that a helper's view of two jobs is one of any lists with the same sizes and common parts.

    What it does not know are the digests; those under which two views agree are computed here.
    """
    draw = random.Random(seed)
    jobs = [drawn(draw), drawn(draw)]
    others = [renamed(draw, lists) for lists in jobs]
    ideal = Ideal(seed)
    monkeypatch.setattr(aided, "keyed_digests", ideal)
    seen, keys = view(2, jobs, seed), list(ideal.keys)
    keys = keys if len(keys) == len(jobs) else keys * len(jobs)
    other = Ideal(seed)
    for key, (_, before) in zip(keys, others, strict=True):
        for after, name in before.items():
            if other.of.setdefault((key, after), ideal.of[key, name]) != ideal.of[key, name]:
                raise NotCoupled(f"{after} has one digest in two jobs")
    monkeypatch.setattr(aided, "keyed_digests", other)
    if view(2, [lists for lists, _ in others], seed) != seen:
        raise NotCoupled("the views differ")


def couple_all(pairs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in range(pairs):
        couple(seed, monkeypatch)


def test_a_helper_sees_nothing_but_sizes_and_how_many_identifiers_are_shared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    couple_all(PAIRS, monkeypatch)


def test_a_key_that_serves_two_jobs_is_caught_by_the_coupling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aided, "key_of", lambda *_: bytes(32))
    with pytest.raises(NotCoupled):
        couple_all(20, monkeypatch)


def test_an_owner_sees_nothing_of_rows_that_it_does_not_share_with_all_others() -> None:
    """Nor which of its rows a part of the others holds: views are equal byte by byte."""
    for seed in range(PAIRS):
        draw = random.Random(seed)
        own = [f"own{number}" for number in range(6)]
        common = draw.sample(own, 3)
        half = [one for one in own if one not in common]
        views = []
        for run in range(2):
            second = [*common, *draw.sample(half, run), *[f"second{run}{n}" for n in range(4 - run)]]
            third = [*common, *[f"third{run}{n}" for n in range(3)]]
            lists = [own, draw.sample(second, 7), draw.sample(third, 6)]
            views.append(view(0, [lists], seed))
        assert views[0] == views[1]


def test_the_key_is_bound_to_the_job_and_to_every_owners_part() -> None:
    parts = [bytes([number]) * 32 for number in range(3)]
    keys = {key_of(CONTEXT, parts), key_of(bytes(32), parts)}
    keys |= {key_of(CONTEXT, [*parts[:at], bytes([9]) * 32, *parts[at + 1 :]]) for at in range(3)}
    assert len(keys) == 5


def test_nobody_sends_the_helper_the_key_or_a_part_of_it() -> None:
    seen: list[bytes] = []
    lists = [["a", "b"], ["b", "c"]]
    made = parties(spec_of(2), lists)
    made[2] = recorded(made[2], seen)
    run_local(made)
    drawn_parts = [random.Random(f"7/{me}").randbytes(32) for me in range(2)]
    secrets = [*drawn_parts, key_of(CONTEXT, drawn_parts)]
    assert not any(secret in message for secret in secrets for message in seen)


# --- digests ------------------------------------------------------------------------------------------


@PROPERTY
@given(st.lists(st.text(max_size=70)), st.binary(min_size=32, max_size=32), st.integers(0, 3))
def test_digests_are_those_of_aes_cmac(texts: list[str], key: bytes, cut: int) -> None:
    cut = min(cut, len(texts))
    made = keyed_digests(key, texts_of(pa.array(texts, pa.string())[cut:]))
    for text, words in zip(texts[cut:], made.astype(">u8"), strict=True):
        mac = CMAC(AES(key))
        mac.update(text.encode())
        assert words.tobytes() == mac.finalize()


def test_digests_do_not_depend_on_the_slices_that_texts_are_laid_out_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    texts = texts_of([f"{number}" * (number % 5 + 1) for number in range(300)])
    whole = keyed_digests(bytes(32), texts)
    monkeypatch.setattr("privcompute.mpc.protocols.digests._SLICE_BYTES", 100)
    assert np.array_equal(whole, keyed_digests(bytes(32), texts))
