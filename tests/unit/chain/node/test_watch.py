"""What happens in consensus is told once, in names, when it happens."""

from __future__ import annotations

from dataclasses import replace

from chain.node.watch import TWIN_REMEDY, Seen, muted, news, notes, views_passed

FINE = Seen(epoch=10, view=0, primary="bank-node")


def test_what_did_not_change_is_not_told_again() -> None:
    bad = replace(FINE, view=2, lost_votes=True, passed_over=("bank-node",), silent=("bureau-node",))
    assert len(news(FINE, bad)) == 4
    assert news(bad, bad) == []


def test_lost_votes_the_spare_and_the_return_are_told() -> None:
    lost = replace(FINE, lost_votes=True)
    ready = replace(lost, spare="node.2.key")
    assert "votes of this key were lost" in news(FINE, lost)[0]
    assert "node.2.key is ready" in news(lost, ready)[0]
    assert news(ready, FINE) == ["this node votes again"]
    assert "assent validator rejoin" in notes(lost)[0]


def test_view_changes_and_whoever_is_passed_over_are_told_by_name() -> None:
    changed = replace(FINE, view=1, primary="bureau-node", passed_over=("bank-node",))
    assert news(FINE, changed) == [
        "view 1 of the epoch from height 10: bureau-node leads",
        "bank-node is passed over: a view change ended its turn",
    ]
    assert news(changed, FINE) == ["bank-node leads again when its turn comes"]
    assert "bank-node" in notes(changed)[0]
    assert notes(FINE) == []


def test_views_are_counted_within_an_epoch_and_from_zero_in_the_next() -> None:
    assert views_passed(FINE, replace(FINE, view=3)) == 3
    assert views_passed(replace(FINE, view=3), replace(FINE, epoch=20, view=1)) == 1
    assert views_passed(replace(FINE, view=3), replace(FINE, epoch=20)) == 0


def test_advice_of_lost_votes_is_what_is_left_to_do() -> None:
    """It said to move the seat, still, after the seat had been moved."""
    lost = replace(FINE, lost_votes=True)
    assert notes(replace(lost, moves="ab" * 32)) == [muted("ab" * 32)]
    assert "nothing to do" in muted("ab" * 32)
    assert "rejoin" not in muted("ab" * 32)
    assert "or the validators change otherwise" in muted("")
    assert notes(lost, stall=muted("")) == [], "the stall says it already"


def test_a_node_that_runs_twice_says_so_once_whoever_told_it() -> None:
    """It was said five times, in 1,500 characters."""
    said = dict.fromkeys(("bureau-node", "registry-node"), "1.2.3.4:5 and 6.7.8.9:5")
    told = notes(replace(FINE, own_twins=said))
    assert len(told) == 1
    assert "bureau-node, registry-node say of this node's own key: 1.2.3.4:5 and 6.7.8.9:5; " in told[0]
    assert notes(replace(FINE, own_twins=said), stall=f"the key runs twice; {TWIN_REMEDY}") == []


def test_an_archive_that_cannot_be_written_is_a_note() -> None:
    assert notes(replace(FINE, unpruned="storage.archive_dir = /x: full"))[0].startswith("nothing is pruned")
