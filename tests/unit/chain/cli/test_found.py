"""`assent found`: from own keys to an own folder that starts, and what stops a founding on its way."""

from __future__ import annotations

import json
import shutil
import stat
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from chain.cli import found
from chain.cli.found_files import check_record, founders_folder
from chain.cli.layout import open_consortium
from chain.cli.main import main
from chain.config import load_node_config
from chain.founding.cards import DAY_MS, card_from_bytes, card_to_bytes, sign_card
from chain.founding.consent import consent_to_bytes, give_consent
from chain.founding.draft import combine, draft_to_bytes
from chain.founding.founders import SystemContracts
from chain.ledger.genesis import Limits, load_genesis
from chain.primitives.errors import Exit
from chain.primitives.keyfile import is_sealed, load_key
from privcompute.config import load_agent_config

ADDRESSES = {
    "bank": ["--address", "node.bank.example:30300", "--agent-address", "agent.bank.example:30302"],
    "bureau": ["--address", "[2001:db8::1]:30300"],
}


def do(*words: str | Path, status: int = 0) -> str:
    """Run a command; return what it prints."""
    told = CliRunner().invoke(main, [*map(str, words)])
    assert told.exit_code == status, f"{words}: {told.exit_code}\n{told.output}{told.exception!r}"
    return told.output


def request(folder: Path, *more: str) -> Path:
    do("found", "request", folder, "--founding", "union", *ADDRESSES[folder.name], *more)
    return folder / f"{folder.name}.card.json"


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with those of two founders, the draft, and the signatures of both."""
    base = tmp_path_factory.mktemp("signed")
    cards = [request(base / org) for org in ADDRESSES]
    do("found", "combine", *cards, "--out", base / "founding.json")
    for org in ADDRESSES:
        do("found", "sign", base / "founding.json", "--as", base / org)
    return base


@pytest.fixture
def base(signed: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(signed, tmp_path / "base"))


def signatures(base: Path) -> list[Path]:
    return [base / org / f"{org}.signature.json" for org in ADDRESSES]


def install(base: Path, org: str, *more: str | Path, status: int = 0) -> str:
    words = [base / "founding.json", *signatures(base), "--as", base / org]
    return do("found", "install", *words, *more, status=status)


def test_a_founding_gives_each_founder_a_folder_that_starts_with_the_same_genesis(base: Path) -> None:
    for org in ADDRESSES:
        assert "assent start" in install(base, org)
    genesis = load_genesis(base / "bank/genesis.json")
    assert genesis == load_genesis(base / "bureau/genesis.json")
    assert [v.address for v in genesis.validators] == ["node.bank.example:30300", "[2001:db8::1]:30300"]
    config, files = load_node_config(base / "bank/node.toml")
    assert (config.network.listen, config.rpc.listen) == ("0.0.0.0:30300", "127.0.0.1:30301")
    assert load_key(files.key).public == genesis.validators[0].public_key
    assert load_node_config(base / "bureau/node.toml")[0].network.listen == "[::]:30300"
    agent, _ = load_agent_config(base / "bank/agent.toml")
    assert (agent.peers.listen, agent.node) == ("0.0.0.0:30302", "http://127.0.0.1:30301")
    assert not (base / "bureau/agent.toml").exists()
    assert [item.name for item in open_consortium(base / "bank").orgs] == ["bank"]
    assert check_record(founders_folder(base / "bank"), genesis) == 2


def test_where_processes_listen_is_the_hosts_own_matter(base: Path) -> None:
    install(
        base, "bank", "--listen", "10.0.0.7:4000", "--rpc", "[::1]:4001", "--agent-listen", "10.0.0.7:4002"
    )
    config, _ = load_node_config(base / "bank/node.toml")
    assert (config.network.listen, config.rpc.listen) == ("10.0.0.7:4000", "[::1]:4001")
    assert load_agent_config(base / "bank/agent.toml")[0].peers.listen == "10.0.0.7:4002"
    assert load_genesis(base / "bank/genesis.json").validators[0].address == "node.bank.example:30300"


@pytest.mark.parametrize(
    ("org", "more", "said"),
    [
        ("bank", ["--listen", "here"], "--listen: 'here'"),
        ("bank", ["--listen", "0.0.0.0:4000", "--rpc", "127.0.0.1:4000"], "a port stands twice"),
        ("bank", ["--listen", "0.0.0.0:30301"], "a port stands twice"),
        ("bank", ["--listen", "0.0.0.0:65535"], "--rpc: name where"),
        ("bureau", ["--agent-listen", "0.0.0.0:4000"], "--agent-listen: '0.0.0.0:4000'"),
    ],
)
def test_addresses_to_listen_on_that_do_not_go_together_install_nothing(
    base: Path, org: str, more: list[str], said: str
) -> None:
    assert said in install(base, org, *more, status=Exit.CONFIG)
    assert not (base / org / "node.toml").exists()
    assert not (base / org / "genesis.json").exists()


def test_nothing_is_installed_that_not_all_founders_signed(base: Path) -> None:
    draft, (bank, bureau) = base / "founding.json", signatures(base)
    words = ["found", "install", draft, "--as", base / "bank"]
    assert "not signed by bureau" in do(*words, bank, status=Exit.REFUSED)
    assert "not signed by bank, bureau" in do(*words, status=Exit.REFUSED)
    assert "are both signatures of 'bank'" in do(*words, bank, bank, status=Exit.REFUSED)
    altered = bureau.read_bytes().replace(b'"signature": "', b'"signature": "00')[:-4] + b'"\n}\n'
    bureau.write_bytes(altered)
    assert str(bureau) in do(*words, bank, bureau, status=Exit.DAMAGED)
    assert not (base / "bank/genesis.json").exists()
    said = do("status", base / "bank", status=Exit.CONFIG)
    assert "its founding is not complete" in said
    assert "assent found install" in said


def test_an_install_that_ended_half_way_is_made_good_and_a_second_one_is_refused(base: Path) -> None:
    install(base, "bank")
    (base / "bank/genesis.json").unlink()
    install(base, "bank")
    assert "there already" in install(base, "bank", status=Exit.CONFIG)
    again = do("found", "request", base / "bank", "--again", status=Exit.CONFIG)
    assert "is complete" in again


def test_a_key_that_is_not_that_of_the_card_is_noticed_before_anything_is_installed(base: Path) -> None:
    shutil.copy(base / "bureau/keys/node.key", base / "bank/keys/node.key")
    assert "keys/node.key: not there, or not the key of the card" in install(base, "bank", status=1)
    shutil.copy(base / "bureau/keys/admin.key", base / "bank/keys/admin.key")
    said = do("found", "sign", base / "founding.json", "--as", base / "bank", status=1)
    assert "not that of the card of 'bank'" in said


def test_check_shows_at_80_columns_all_that_a_member_agrees_to(base: Path) -> None:
    shown = do("found", "check", base / "founding.json", *signatures(base)[:1], "--as", base / "bank")
    tables = shown[: shown.index("2 validators")]
    assert max(map(len, tables.splitlines())) <= 80
    genesis = json.loads((base / "founding.json").read_text())["genesis"]["chain_id"]
    for words in (genesis, "at node.bank.example:30300", "agent at agent.bank.example:30302", "block_gas",
                  "governance", "private-join", "bureau-node", "not yet by bureau",
                  "2 must run for the chain to move"):  # fmt: skip
        assert words in shown, words
    told = json.loads(do("found", "check", base / "founding.json", "--json"))
    assert told["genesis"] == genesis
    assert [item["org"] for item in told["founders"]] == ["bank", "bureau"]
    assert told["missing"] == ["bank", "bureau"]
    assert len(told["contracts"]["orgs"]) == 64


def test_a_signed_draft_whose_programs_are_no_programs_is_shown_without_them(base: Path) -> None:
    """Whoever founds alone puts into a draft what it likes; others look at it."""
    card = card_from_bytes((base / "bank/bank.card.json").read_bytes(), "card")
    contracts = SystemContracts({"programs": "x = Var(int, 0)\n"}, {"programs": {"pages": 7}})
    draft = combine([("card", card)], Limits(), contracts)
    alone, signature = base / "alone.json", base / "alone.signature.json"
    alone.write_bytes(draft_to_bytes(draft))
    signature.write_bytes(
        consent_to_bytes(give_consent(draft, "bank", load_key(base / "bank/keys/admin.key")))
    )
    assert "signed by all 1" in do("found", "check", alone, signature)
    assert "is not the contract of this Assent" in do("found", "check", alone, status=Exit.DAMAGED)


def test_a_founder_signs_a_second_draft_only_in_the_place_of_the_first(base: Path) -> None:
    cards = [base / org / f"{org}.card.json" for org in ADDRESSES]
    other = base / "other.json"
    do("found", "combine", *cards, "--limit", "block_txs=900", "--out", other)
    words = ["found", "sign", other, "--as", base / "bank"]
    assert "you signed another genesis" in do(*words, status=1)
    do(*words, "--instead")
    do(*words)
    assert "signed another genesis" in install(base, "bureau", status=1)


def test_a_new_card_keeps_the_keys_and_what_is_not_said_anew(base: Path) -> None:
    before = card_from_bytes((base / "bank/bank.card.json").read_bytes(), "before")
    do("found", "request", base / "bank", "--again", "--address", "elsewhere.example:1", "--days", "7")
    after = card_from_bytes((base / "bank/bank.card.json").read_bytes(), "after")
    assert after.node_address == "elsewhere.example:1"
    assert after.expires - after.made == 7 * DAY_MS
    kept = ("founding", "name", "roles", "admin", "node", "agent", "agent_address")
    assert [getattr(after, field) for field in kept] == [getattr(before, field) for field in kept]
    said = do("found", "check", base / "founding.json", "--as", base / "bank", status=1)
    assert "another card of 'bank' than your folder: node_address = 'node.bank.example" in said
    do("found", "request", base / "bureau", "--again", "--agent-address", "agent.example:2")
    assert (base / "bureau/keys/agent.key").exists()


def test_a_draft_that_all_signed_is_held_against_ones_own_card_too(base: Path) -> None:
    """Whoever makes up a card for everybody can sign for everybody."""
    words = ["found", "check", base / "founding.json", *signatures(base), "--as", base / "bank"]
    assert "signed by all 2, every card is valid, yours unchanged" in do(*words)
    do("found", "request", base / "bank", "--again", "--address", "elsewhere.example:1")
    assert "another card of 'bank' than your folder" in do(*words, status=1)


def test_an_expired_card_and_one_from_the_future_stop_what_is_not_signed_and_not_what_is(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = found._now()
    card = base / "bank/bank.card.json"
    monkeypatch.setattr(found, "_now", lambda: now + 31 * DAY_MS)
    for words in (
        ["combine", card, "--out", base / "x.json"],
        ["check", base / "founding.json"],
        ["sign", base / "founding.json", "--as", base / "bank"],
    ):
        said = do("found", *words, status=1)
        assert "the card of 'bank' expired at" in said
        assert "assent found request bank --again" in said
    install(base, "bank")
    assert "signed by all 2" in do("found", "check", base / "founding.json", *signatures(base))
    monkeypatch.setattr(found, "_now", lambda: now - DAY_MS)
    assert "one of the two clocks is wrong" in do(
        "found", "combine", card, "--out", base / "x.json", status=1
    )
    assert not (base / "x.json").exists()


def test_what_is_private_is_for_its_owner_alone_and_may_be_sealed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASSENT_PASSPHRASE", "correct horse")
    card = request(tmp_path / "bank", "--sealed", "--name", "First Bank", "--roles", "owner,user")
    for role in ("admin", "node", "agent"):
        path = tmp_path / f"bank/keys/{role}.key"
        assert is_sealed(path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "bank/keys").stat().st_mode) == 0o700
    found = card_from_bytes(card.read_bytes(), "card")
    assert (found.name, found.roles) == ("First Bank", ("owner", "user"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["Bank", "--founding", "u", "--address", "a.example:1"], "'Bank' is not the name"),
        (["bank", "--founding", "My Union", "--address", "a.example:1"], "--founding: 'My Union'"),
        (["bank", "--founding", "u"], "--founding and --address: give both"),
        (["bank", "--founding", "u", "--address", "0.0.0.0:1"], "--address: '0.0.0.0:1'"),
        (["bank", "--founding", "u", "--address", "a:1", "--agent-address", "x"], "--agent-address: 'x'"),
        (["bank", "--founding", "u", "--address", "a:1", "--roles", "owner,king"], "--roles: 'owner,king'"),
        (["bank", "--again"], "keys/admin.key: not there"),
    ],
)
def test_a_request_with_a_wrong_value_makes_no_folder(
    words: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert said in do("found", "request", *words, status=Exit.CONFIG)
    assert list(tmp_path.iterdir()) == []


def test_hostile_names_of_a_card_make_no_folder_and_reach_no_terminal(tmp_path: Path) -> None:
    words = ["--founding", "u", "--address", "a:1", "--name", "Bank\x1b[2J"]
    said = do("found", "request", tmp_path / "bank", *words, status=1)
    assert r"name = 'Bank\x1b[2J'" in said
    assert "\x1b" not in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        ("block_txs", "expected NAME=VALUE"),
        ("block_txs=many", "expected NAME=VALUE"),
        ("block_txs=0", "expected a whole number in 1.."),
        ("colour=1", "--limit.colour: unknown key"),
        ("tx_gas_max=2000", "at most tx_gas_max"),
    ],
)
def test_a_limit_that_is_wrong_is_refused_by_name_and_value(base: Path, limit: str, said: str) -> None:
    card = base / "bank/bank.card.json"
    out = base / "x.json"
    assert said in do("found", "combine", card, "--limit", limit, "--out", out, status=Exit.CONFIG)
    assert not out.exists()


def test_files_that_are_missing_too_large_of_another_kind_or_there_already_are_named(base: Path) -> None:
    card, draft = base / "bank/bank.card.json", base / "founding.json"
    missing = base / "nobody.card.json"
    assert f"{missing}: cannot be read" in do("found", "combine", missing, status=Exit.IO)
    assert "exists already" in do("found", "combine", card, "--out", draft, status=Exit.IO)
    assert 'not a file of "kind"' in do("found", "check", card, status=1)
    large = base / "large.json"
    with large.open("wb") as file:
        file.truncate(10**9)
    assert "more than 16384 bytes" in do("found", "combine", large, status=Exit.IO)
    assert "more than 16777216 bytes" in do("found", "check", large, status=Exit.IO)
    said = do("found", "sign", draft, "--as", base / "insurer", status=Exit.CONFIG)
    assert "is not the folder of a founder" in said


def test_a_card_in_the_folder_of_another_organisation_is_refused(base: Path) -> None:
    shutil.copy(base / "bureau/bureau.card.json", base / "bank/bank.card.json")
    said = do("found", "check", base / "founding.json", "--as", base / "bank", status=1)
    assert "the card of 'bureau', and the folder is that of 'bank'" in said


def test_founders_whom_the_contracts_refuse_are_refused_before_anybody_signs(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rules of cards are stricter than those of the contracts; were they not, it is noticed here."""
    card = card_from_bytes((base / "bank/bank.card.json").read_bytes(), "card")
    monkeypatch.setattr("chain.founding.cards.ROLES", ("king",))
    crowned = sign_card(replace(card, roles=("king",)), load_key(base / "bank/keys/admin.key"))
    forged = base / "king.card.json"
    forged.write_bytes(card_to_bytes(crowned))
    monkeypatch.setattr("chain.ledger.genesis.ROLES", ("king",))
    said = do("found", "combine", forged, "--out", base / "x.json", status=1)
    assert "the contracts do not take these founders" in said
    assert not (base / "x.json").exists()
