"""Which of its keys a node goes by, and how spares come and go: none that lives is lost, none pile up."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from chain.cli.validator import after_rotation
from chain.config import NodeFiles, load_node_config
from chain.ledger.genesis import Limits
from chain.ledger.testing import ToyChain, toy_genesis, toy_key
from chain.node.keys import LONELY_MS, REFUSED_MS, SPARES_MAX, KeyRing, TooManyKeys, key_files, marker_of
from chain.node.signedskips import SUFFIX
from chain.primitives.crypto import PrivateKey
from chain.primitives.keyfile import load_key, save_key

FOUNDERS = ("bank-node", "bureau-node", "registry-node", "regulator-node")


@pytest.fixture
def files(tmp_path: Path) -> NodeFiles:
    found = NodeFiles(
        data_dir=tmp_path / "data",
        archive_dir=None,
        genesis=tmp_path / "genesis.json",
        key=tmp_path / "keys/node.key",
        next_key=tmp_path / "next.key",
        rpc_pair=None,
        tokens=tmp_path / "rpc-tokens.json",
        access_log=None,
        operator_token=tmp_path / "node.token",
    )
    found.key.parent.mkdir()
    save_key(found.key, toy_key(FOUNDERS[0]))
    return found


@pytest.fixture
def empty() -> ToyChain:
    return ToyChain(toy_genesis(limits=Limits(consensus_window=3)))


def nobody(_key: bytes) -> bool:
    return False


def voted(path: Path) -> None:
    marker_of(path).touch()


def names(files: NodeFiles) -> list[str]:
    return [path.name for path in key_files(files)]


def test_a_spare_stands_beside_the_key_and_is_made_once(files: NodeFiles) -> None:
    ring = KeyRing(files)
    made = ring.spare(files.key, nobody)
    assert made.file == files.key.with_name("node.2.key")
    assert KeyRing(files).spare(files.key, nobody).file == made.file
    assert names(files) == ["node.key", "node.2.key"]


def test_a_key_that_voted_stays_where_it_is_unless_the_ledger_gave_it_up(files: NodeFiles) -> None:
    """The founder's key comes up first after a wipe, and the other one may well be the live one."""
    ring = KeyRing(files)
    live = ring.spare(files.key, nobody)
    voted(files.key)
    voted(live.file)
    assert ring.spare(files.key, nobody).file.name == "node.3.key"
    assert load_key(live.file).public == live.key.public
    assert marker_of(live.file).exists()


def test_keys_do_not_pile_up_over_any_number_of_moves(files: NodeFiles) -> None:
    dead: set[bytes] = set()
    used, counts = files.key, []
    for _ in range(20):
        voted(used)
        spare = KeyRing(files).spare(used, dead.__contains__)
        dead.add(load_key(used).public)
        used = spare.file
        counts.append(len(key_files(files)))
    assert max(counts) == 3
    assert files.key.exists(), "the operator's own file is never removed"
    assert used.name == "node.21.key", "no number comes twice: a marker that was left belongs to its own key"


def test_keys_that_the_ledger_knows_nothing_of_are_bounded_and_named(files: NodeFiles) -> None:
    for number in range(2, SPARES_MAX + 2):
        path = files.key.with_name(f"node.{number}.key")
        save_key(path, PrivateKey.generate())
        voted(path)
    with pytest.raises(TooManyKeys, match=str(files.key.parent)):
        KeyRing(files).spare(files.key, nobody)


def test_an_empty_ledger_lets_the_key_that_voted_last_come_first(files: NodeFiles, empty: ToyChain) -> None:
    """A seat moves forward only: the founder's key is dead for certain if another has voted."""
    ring = KeyRing(files)
    spare = ring.spare(files.key, nobody)
    voted(files.key)
    assert ring.choose(empty.ledger).file == files.key, "a spare that never voted is not likely to be it"
    voted(spare.file)
    again = KeyRing(files)
    assert again.choose(empty.ledger).file == spare.file
    assert again.knows_better(empty.ledger, spare.key.public) is None, "the genesis does not know better"


def test_a_key_that_is_tried_stays_until_the_ledger_is_for_it(files: NodeFiles, empty: ToyChain) -> None:
    save_key(files.key.with_name("node.2.key"), toy_key("moved"))
    voted(files.key.with_name("node.2.key"))
    ring, moved, founder = KeyRing(files), toy_key("moved").public, toy_key(FOUNDERS[0]).public
    assert ring.choose(empty.ledger).key.public == moved
    empty.add(empty.govern(("moved", *FOUNDERS[1:])))
    assert ring.knows_better(empty.ledger, moved) is None, "the founder's key still votes at this height"
    for _ in range(3):
        empty.add()
    assert ring.knows_better(empty.ledger, moved) is None
    assert ring.knows_better(empty.ledger, founder) == moved


def test_every_key_is_tried_in_turn_ever_slower_and_then_the_node_says_so(
    files: NodeFiles, empty: ToyChain
) -> None:
    ring = KeyRing(files)
    save_key(files.next_key, toy_key("next"))
    first, other = toy_key(FOUNDERS[0]).public, toy_key("next").public
    assert (ring.wait_ms(refused=True), ring.wait_ms(refused=False)) == (REFUSED_MS, LONELY_MS)
    assert ring.not_taken(first, refused=True) == other
    assert ring.choose(empty.ledger).key.public == other
    assert ring.says() == ""
    assert ring.not_taken(other, refused=True) == first
    assert "no peer takes a key of this node" in ring.says()
    assert "validator rotate-key" in ring.says()
    assert ring.wait_ms(refused=True) == 2 * REFUSED_MS
    for _ in range(50):
        ring.not_taken(first, refused=True)
        ring.not_taken(other, refused=True)
    assert ring.wait_ms(refused=True) == 8 * REFUSED_MS
    ring.taken()
    assert ring.says() == ""


def test_a_node_with_one_key_that_nobody_takes_says_so(files: NodeFiles) -> None:
    ring = KeyRing(files)
    founder = toy_key(FOUNDERS[0]).public
    assert ring.not_taken(founder, refused=False) is None
    assert ring.says() == "", "the others may just be down"
    assert ring.not_taken(founder, refused=True) is None
    assert "node.key" in ring.says()


def test_a_seat_that_moved_to_next_key_keeps_it_and_its_markers_where_the_advice_puts_them(
    tmp_path: Path,
) -> None:
    """The advice was to name next.key as the key, which is refused, for next_key is next.key by default."""
    config = tmp_path / "node.toml"
    config.write_text('[files]\nkey = "keys/node.key"\n')
    (tmp_path / "keys").mkdir()
    live = PrivateKey.generate()
    said = after_rotation(live.public.hex())
    names = re.findall(r"keys/seat-[0-9a-f]{8}\.(?:key|voted|skips)", said.partition(" (those")[0])
    assert len(names) == 3
    save_key(tmp_path / names[0], live)
    (tmp_path / names[1]).write_text("voted")
    (setting,) = re.findall(r'key = "[^"]*"', said)
    config.write_text(f"[files]\n{setting}\n")
    ring = KeyRing(load_node_config(config)[1])
    assert ring.all()[live.public].has_voted
    assert (tmp_path / names[0]).with_suffix(SUFFIX) == tmp_path / names[2]
