"""Every reason for a standstill is said in words: who, which phase, since when, what to do."""

from __future__ import annotations

from dataclasses import replace

import psutil
import pytest

from chain.cli.status import explain_silence, grouped
from chain.node.stall import DISK_LOW_BYTES, PATIENCE_S, STALLED_S, Away, Coming, Facts, explain, stalled
from consensus.report import MUTED

FINE = Facts("bank-node", 4, 3, certified=40, executed=40, primary="bureau-node", proved=40)
WAITING = replace(FINE, pending=True, seconds=12.0)
MANY_AWAY = tuple(Away(f"n{number}", f"10.0.0.{number}:1", 1.0, "gone") for number in range(9))
AWAY = Away("registry-node", "127.0.0.1:30320", 14.0, "connection refused: the node is not running")

CASES: dict[str, tuple[Facts, tuple[str, ...]]] = {
    "halted": (
        replace(FINE, halted="height 7 executed to ab here, but a quorum certified cd"),
        ("stopped itself", "height 7", "restart"),
    ),
    "disk full": (
        replace(FINE, disk_free=3 * 1_048_576, data_dir="/srv/data"),
        ("/srv/data", "3 MiB left", "free some"),
    ),
    "a height that kills": (
        replace(FINE, unfinished="height 41 is ordered; this node began to execute it 3 times in a row"),
        ("height 41", "3 times in a row"),
    ),
    "diverged": (replace(FINE, sync_trouble="block 9 executes differently here"), ("block 9",)),
    "no quorum": (
        replace(WAITING, away=(AWAY, replace(AWAY, name="regulator-node", address="127.0.0.1:30330"))),
        (
            "2 of 4 validators are connected, 3 are needed",
            "registry-node at 127.0.0.1:30320 for 14 s (connection refused",
            "regulator-node at 127.0.0.1:30330",
            "Start those nodes",
        ),
    ),
    "outside": (replace(FINE, outside="no node of this chain has the key ab"), ("no node of this chain",)),
    "a coming set without its quorum": (
        replace(FINE, coming=Coming(60, 3, ("registry-node", "regulator-node"))),
        ("at height 60 other validators take over, 3 of them", "registry-node and regulator-node"),
    ),
    "a state on its way": (replace(FINE, snapshot=(900, 0.25)), ("the state of height 900: 25% is here",)),
    "headers differ": (
        replace(
            WAITING,
            executed=44,
            phase="checkpoints",
            headers={"bank-node": "ab" * 32, "bureau-node": "ab" * 32, "registry-node": "cd" * 32},
        ),
        ("height 41 executes differently", "bank-node and bureau-node: abab", "registry-node: cd", "rebuild"),
    ),
    "listening": (
        replace(WAITING, phase="listening", missing=("bureau-node", "registry-node")),
        ("listens to 3 validators", "bureau-node and registry-node"),
    ),
    "muted": (
        replace(WAITING, phase="muted", says=MUTED),
        ("this validator lost its votes", "or the validators change otherwise", "assent validator rejoin"),
    ),
    "muted while its seat moves": (
        replace(WAITING, phase="muted", says=MUTED, moves="ab" * 32),
        ("its seat moves to its key abababababababab", "nothing to do"),
    ),
    "the only validator has lost its votes": (
        replace(WAITING, phase="listening", says="the only validator, and its vote store was empty"),
        ("the only validator",),
    ),
    "behind": (
        replace(
            WAITING, phase="behind", proved=940, sources=("bureau-node", "registry-node"), blocks_per_s=30.0
        ),
        ("at height 40 of 940", "from bureau-node and registry-node at 30 blocks a second, 30 s to go"),
    ),
    "behind, nobody serves": (
        replace(WAITING, phase="behind", proved=940, away=(AWAY,)),
        ("at height 40 of 940", "no connected peer serves", "all but registry-node"),
    ),
    "clocks ahead": (
        replace(FINE, skews_ms={"registry-node": 95_000, "bureau-node": 10}),
        ("registry-node 95 s", "30 s ahead", "Set the clocks there"),
    ),
    "own clock behind": (
        replace(FINE, skews_ms={"registry-node": 95_000, "bureau-node": 94_000}),
        ("the clock of this node (bank-node) is behind", "at least 94 s", "Set its clock"),
    ),
    "payload": (replace(WAITING, phase="payload"), ("height 41", "not here", "12 s")),
    "transactions": (
        replace(WAITING, phase="check", lacking=3, holders=("bureau-node",)),
        ("3 transactions", "bureau-node announced some", "12 s"),
    ),
    "transactions nobody has": (
        replace(WAITING, phase="executing", lacking=3),
        ("no connected peer is known to have them",),
    ),
    "view change": (
        replace(
            WAITING,
            phase="view-change",
            view=5,
            asked=("bank-node",),
            missing=("bureau-node", "registry-node"),
        ),
        ("view 5", "for 12 s", "bank-node asked, 3 are needed", "not yet: bureau-node and registry-node"),
    ),
    "new view": (
        replace(WAITING, phase="new-view", view=5, asked=("a", "b", "c")),
        ("3 validators want view 5", "its primary bureau-node", "12 s"),
    ),
    "window exhausted": (
        replace(
            WAITING,
            executed=48,
            phase="checkpoints",
            headers={"bank-node": "ab" * 32},
            missing=("bureau-node", "registry-node"),
        ),
        ("height 41 is executed but has no certificate for 12 s", "1 of 3", "bank-node: abab",
         "none of bureau-node and registry-node", "8 heights are open, so nothing more is ordered"),
    ),
    "silent primary": (
        replace(WAITING, phase="proposal", view=2),
        ("the primary of view 2, bureau-node, has proposed nothing for 12 s", "replaced by itself"),
    ),
    "we are the primary": (replace(WAITING, phase="proposal", primary="bank-node"), ("view 0, this node,",)),
    "prepares": (
        replace(WAITING, phase="prepares", says="height 41: 2 prepares", missing=("registry-node",)),
        ("height 41: 2 prepares for 12 s", "none of registry-node"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_standstill_says_who_which_phase_since_when_and_what_to_do(name: str) -> None:
    facts, parts = CASES[name]
    text = explain(facts)
    for part in parts:
        assert part in text, text


@pytest.mark.parametrize(
    "facts",
    [
        FINE,
        replace(FINE, disk_free=DISK_LOW_BYTES),
        replace(FINE, away=(AWAY,)),
        replace(FINE, seconds=3_600.0),
        replace(WAITING, phase="prepares", seconds=PATIENCE_S - 0.1),
        replace(WAITING, phase="behind", proved=43, seconds=1.0),
        replace(FINE, skews_ms={"bureau-node": 29_000}),
        replace(FINE, is_validator=False, away=(AWAY,) * 3),
    ],
    ids=["idle", "room", "one away of f", "long idle", "short wait", "small gap", "small skew", "observer"],
)
def test_a_node_that_moves_or_idles_says_nothing(facts: Facts) -> None:
    assert explain(facts) == ""


def test_long_waits_are_said_in_minutes_and_hours() -> None:
    assert "for 10 min" in explain(replace(WAITING, phase="proposal", seconds=600))
    assert "for 3 h" in explain(replace(WAITING, phase="proposal", seconds=10_800))


def test_a_silent_process_is_explained_by_its_state() -> None:
    assert "kill -CONT 12" in explain_silence(12, psutil.STATUS_STOPPED, "http://x", "timeout", "node.log")
    text = explain_silence(12, psutil.STATUS_SLEEPING, "http://x", "timeout", "c/bank/node.log")
    assert "process 12 runs, but http://x does not answer (timeout)" in text
    assert "c/bank/node.log" in text


def test_nodes_that_say_the_same_are_named_together() -> None:
    nodes = [{"org": "a", "stall": "x"}, {"org": "b", "stall": ""}, {"org": "c", "stall": "x"}]
    assert grouped(nodes) == [(["a", "c"], "x")]


def test_a_stall_is_work_that_waits_long_at_one_height_whatever_its_phases() -> None:
    """View changes that follow one another begin new phases; `/ready` said ready through all of them."""
    still = replace(WAITING, seconds=1.0, stood_s=STALLED_S, phase="view-change", says="asks for view 9")
    assert "no height for 20 s though work waits: " in stalled(still)
    assert "asks for view 9" in stalled(still)
    assert stalled(replace(still, stood_s=STALLED_S - 0.1)) == ""
    assert stalled(replace(FINE, stood_s=9_999.0)) == ""
    assert stalled(replace(still, seconds=12.0)).endswith(explain(replace(still, seconds=12.0)))


def test_of_many_validators_without_a_connection_a_line_tells_of_few() -> None:
    said = explain(Facts(name="own", validators=10, quorum=7, away=MANY_AWAY))
    assert "n3 at 10.0.0.3:1" in said
    assert "n4 at" not in said
    assert "; and 5 more, which `assent validator list` names. Start those nodes" in said
