"""Commands at the same moment: none takes back what another wrote, and one that cannot wait says so."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from click.testing import CliRunner

from chain.api.tokens import load_tokens
from chain.cli import token
from chain.cli.init import create_consortium
from chain.cli.layout import ConsortiumFolder
from chain.cli.main import main
from chain.primitives import onechange
from chain.primitives.onechange import one_change

AT_ONCE = 12


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> ConsortiumFolder:
    return create_consortium(tmp_path_factory.mktemp("x") / "c", ["bank"], ["bank"], 0, "together")


def test_all_tokens_that_are_made_at_the_same_moment_are_kept(
    made: ConsortiumFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    begin = threading.Barrier(AT_ONCE)

    def make(number: int) -> None:
        begin.wait()
        assert token.new.callback is not None
        token.new.callback(
            name=f"t{number}", scopes=("read",), days=1, rate=None, config=made.org("bank").node_config,
            as_json=True,
        )  # fmt: skip

    threads = [threading.Thread(target=make, args=(number,)) for number in range(AT_ONCE)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    kept = load_tokens(made.org("bank").path / "rpc-tokens.json")
    assert sorted(item.name for item in kept) == sorted(f"t{number}" for number in range(AT_ONCE))
    assert capsys.readouterr().out.count('"token"') == AT_ONCE


@pytest.mark.parametrize(
    ("held", "words"),
    [
        ("rpc-tokens.json", "node token new ci --config {bank}/node.toml"),
        ("rpc-tokens.json", "node token remove ci --config {bank}/node.toml"),
        ("keys/admin.key", "key seal {bank}/keys/admin.key"),
        ("keys/admin.key", "key unseal {bank}/keys/admin.key"),
        ("bank.card.json", "found sign draft.json --as {bank}"),
        ("bank.card.json", "found install draft.json --as {bank}"),
        ("bank.card.json", "found request {bank} --again"),
        ("../consortium.json", "org new {bank}/../late --genesis {bank}/../genesis.json --base-port 0"),
        ("../late", "org new {bank}/../late --genesis {bank}/../genesis.json --base-port 0"),
        ("../late", "found request {bank}/../late --founding x --address host.example:1"),
        ("../late", "init {bank}/../late --orgs one --base-port 0"),
        ("agent/datasets/bank+d@0.json", "dataset register bank/d data.csv --as {bank}"),
        ("agent/datasets/bank+d@0.json", "dataset new-version bank/d data.csv --as {bank}"),
    ],
)
def test_every_command_that_changes_what_it_read_leaves_it_alone_while_another_does(
    made: ConsortiumFolder, monkeypatch: pytest.MonkeyPatch, held: str, words: str
) -> None:
    monkeypatch.setattr(onechange, "WAIT_S", 0.0)
    bank = made.org("bank").path
    (bank / held).parent.mkdir(parents=True, exist_ok=True)
    with one_change(bank / held):
        before = _texts(made.path)
        done = CliRunner().invoke(main, words.format(bank=bank).split())
        assert _texts(made.path) == before
    assert "another command changes it right now" in done.output
    assert done.exit_code == 1


def _texts(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
