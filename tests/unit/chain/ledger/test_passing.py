"""Who is passed over as primary follows from certified headers: their views, and the bases of these."""

from __future__ import annotations

from chain.ledger.block import Batch, Header
from chain.ledger.genesis import Limits
from chain.ledger.history.rebuild import rebuild
from chain.ledger.ledger import Ledger
from chain.ledger.passing import pass_over
from chain.ledger.testing import ToyChain, ToyRuntime, toy_genesis, toy_key
from chain.primitives.codec import encode
from chain.primitives.leadership import PASSED_OVER_HEIGHTS

WINDOW, ROTATION = 4, 4
NAMES = tuple(f"{org}-node" for org in ("bank", "bureau", "registry", "regulator", "e", "f", "g"))
KEYS = tuple(toy_key(name).public for name in NAMES)


def make_chain(n: int = 4) -> ToyChain:
    orgs = [name.removesuffix("-node") for name in NAMES[:n]]
    return ToyChain(toy_genesis(orgs, Limits(consensus_window=WINDOW, rotation=ROTATION)))


def add(chain: ToyChain, view: int = 0, base: int = 0, proposer: bytes = KEYS[0]) -> Header:
    """Execute and certify an empty batch that says so."""
    head = chain.ledger.head_header
    batch = Batch(head.height + 1, view, base, proposer, head.time + 1_000, ())
    header = chain.ledger.execute(batch.height, encode(batch), ())
    chain.ledger.certify(chain.certificate(header))
    return header


def null_request(chain: ToyChain) -> Header:
    header = chain.ledger.execute(chain.ledger.head.height + 1, b"", ())
    chain.ledger.certify(chain.certificate(header))
    return header


def test_whoever_was_to_do_the_height_above_the_base_is_passed_over_a_window_later() -> None:
    chain = make_chain()
    for _ in range(5):
        add(chain)
    add(chain, view=1, base=5, proposer=KEYS[2])  # height 6, of the second tenure: the second was silent
    seen = [chain.ledger.passed_over_at(height) for height in range(6, 6 + WINDOW + 2)]
    assert seen == [()] * WINDOW + [(KEYS[1],)] * 2


def test_who_left_the_last_height_of_its_tenure_open_is_charged_and_not_who_never_had_its_turn() -> None:
    """Height 7 was prepared in view 0 and proposed again: it shows view 0, and only height 8 shows view 1."""
    chain = make_chain()
    for _ in range(7):
        add(chain)
    add(chain, view=1, base=6, proposer=KEYS[3])
    assert chain.ledger.passed_over_at(8 + WINDOW) == (KEYS[1],), (
        "the third, whose tenure begins at 8, is innocent"
    )


def test_a_charge_is_forgotten_after_a_stated_number_of_heights_and_grows_no_longer() -> None:
    chain = make_chain()
    add(chain)
    add(chain, view=1, base=1, proposer=KEYS[1])
    first = 2 + WINDOW
    last = first + PASSED_OVER_HEIGHTS - 1
    assert [chain.ledger.passed_over_at(height) for height in (first - 1, first, last, last + 1)] == [
        (), (KEYS[0],), (KEYS[0],), ()
    ]  # fmt: skip
    add(chain, view=1, base=1, proposer=KEYS[1])
    assert chain.ledger.passed_over_at(last + 1) == (), "the same view charges nobody again"


def test_of_seven_the_two_charged_latest_are_passed_over() -> None:
    chain = make_chain(7)
    for view in (1, 2, 3):
        height = chain.ledger.head.height + 1
        leading = [key for key in KEYS if key not in chain.ledger.passed_over_at(height)]
        add(chain, view, height - 1, leading[(view + height // ROTATION) % len(leading)])
    charges = chain.ledger.schedule.passed_from(50).charges
    assert [key for key, _ in charges] == [KEYS[1], KEYS[2]]


def test_all_that_failed_in_between_are_charged_the_last_failure_last() -> None:
    chain = make_chain(7)
    add(chain, view=2, base=0, proposer=KEYS[2])
    assert chain.ledger.passed_over_at(1 + WINDOW) == (KEYS[0], KEYS[1])


def test_who_proposes_now_is_not_charged_though_the_views_went_round() -> None:
    chain = make_chain()
    add(chain, view=4, base=0, proposer=KEYS[0])
    assert chain.ledger.passed_over_at(1 + WINDOW) == (KEYS[3],)


def test_a_gap_and_a_batch_that_is_proposed_again_charge_nobody() -> None:
    chain = make_chain()
    add(chain, view=1, base=0, proposer=KEYS[1])
    before = chain.ledger.schedule.passed_from(100)
    below = chain.ledger.head_header
    header = null_request(chain)
    assert (header.view, header.base) == (below.view, below.base)
    add(chain, view=1, base=0, proposer=KEYS[1])
    add(chain, view=0, base=0)
    assert chain.ledger.schedule.passed_from(100) == before


def test_a_base_that_cannot_be_charges_nobody() -> None:
    """No correct replica prepares such a batch; the ledger executes whatever was decided."""
    for base in (2, 10**6):
        chain = make_chain()
        add(chain)
        add(chain, view=1, base=base, proposer=KEYS[1])
        assert chain.ledger.passed_over_at(20) == ()


def test_a_set_of_three_which_tolerates_nobody_passes_nobody_over() -> None:
    chain = make_chain(3)
    add(chain, view=1, base=0, proposer=KEYS[1])
    assert chain.ledger.passed_over_at(20) == ()


def test_views_begin_anew_with_another_set() -> None:
    """View 2 of the first set and view 0 of the next are not compared."""
    chain = make_chain()
    add(chain, view=2, base=0, proposer=KEYS[2])
    charged = chain.ledger.schedule.passed_from(1_000)
    call = chain.govern(NAMES[1:5])
    head = chain.ledger.head_header
    batch = Batch(2, 2, 0, KEYS[2], head.time + 1, (call.id,))
    chain.ledger.certify(chain.certificate(chain.ledger.execute(2, encode(batch), (call,))))
    while chain.ledger.head.height < 1 + WINDOW:
        add(chain, 2, 0, KEYS[2])
    add(chain, view=0, base=1 + WINDOW, proposer=KEYS[1])
    assert chain.ledger.epoch_at(2 + WINDOW).first == 2 + WINDOW
    assert chain.ledger.schedule.passed_from(1_000) == charged
    add(chain, view=1, base=2 + WINDOW, proposer=KEYS[4])
    assert chain.ledger.schedule.passed_from(1_000) != charged


def test_who_is_passed_over_is_known_after_a_restart_and_a_rebuild() -> None:
    chain = make_chain()
    add(chain)
    add(chain, view=1, base=1, proposer=KEYS[1])
    again = ToyChain(chain.genesis, chain.store)
    assert again.ledger.passed_over_at(2 + WINDOW) == (KEYS[0],)
    rebuild(chain.store, chain.genesis, ToyRuntime())
    rebuilt = Ledger(chain.store, chain.genesis, ToyRuntime())
    assert rebuilt.passed_over_at(2 + WINDOW) == (KEYS[0],)


def test_the_rule_looks_at_nothing_but_headers_and_the_batch() -> None:
    """The same header below and the same batch charge the same, whatever else a node knows."""
    one, two = make_chain(), make_chain()
    for chain in (one, two):
        add(chain)
    two.call("put", {"key": "x", "value": 1})
    batch = Batch(2, 1, 1, KEYS[1], 10**15, ())
    found = [
        pass_over(chain.ledger.schedule, 2, chain.ledger.head_header, batch, WINDOW, ROTATION)
        for chain in (one, two)
    ]
    assert found[0] == found[1] is not None
