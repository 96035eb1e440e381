"""A port is closed by default, and opens to whom its operator lets in, step by step as docs/rpc.md says."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from live import assent

from chain.cli import processes
from chain.cli.init import create_consortium, org_ports
from chain.config import load_node_config
from chain.ledger.genesis import load_genesis
from chain.primitives.headstatement import head_from_json
from chain.primitives.settings import split_address

REPOSITORY = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"```(\S+) (node|operator|colleague)\n(.*?)```", re.DOTALL)


def typed(command: str, folder: Path, token: str = "") -> subprocess.CompletedProcess[str]:
    """Run a command of the page as its reader would."""
    words = [str(Path(sys.executable).with_name("assent")), *shlex.split(command)[1:]]
    env = {**os.environ, "ASSENT_TOKEN": token}
    return subprocess.run(
        words, cwd=folder, env=env, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.functional
def test_an_operator_opens_the_port_to_a_colleague_as_the_document_says(tmp_path: Path) -> None:
    """The node's own agent and commands go on over TLS; without her token the colleague gets nothing."""
    made = create_consortium(tmp_path / "host", ["bank"], ["bank"], 0, "opens")
    bank, hers, secret = made.org("bank"), tmp_path / "hers", ""
    hers.mkdir()
    shutil.copy(made.genesis, hers / "genesis.json")
    port = split_address(org_ports(1, 0)[0][1])[1]
    key = load_genesis(made.genesis).validator_keys[0].hex()
    asked = []
    try:
        for _, whose, text in BLOCK.findall((REPOSITORY / "docs/rpc.md").read_text(encoding="utf-8")):
            text = text.replace("30301", str(port)).replace("10.0.0.7", "127.0.0.1").replace("BANK_KEY", key)
            if whose == "node":
                before = bank.node_config.read_text()
                bank.node_config.write_text(re.sub(r"\[rpc\]\nlisten = .*\n", text, before))
                agent = bank.agent_config.read_text()
                url = f'node = "https://127.0.0.1:{port}"'
                bank.agent_config.write_text(re.sub(r"node = .*", url, agent))
                continue
            for command in re.findall(r"^\$ (assent .*)$", text, re.MULTILINE):
                if whose == "colleague":
                    refused = typed(command, hers)
                    assert refused.returncode == 1, refused.stdout + refused.stderr
                    assert "answers principals alone" in refused.stderr
                done = typed(command, hers if whose == "colleague" else made.path, secret)
                assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
                if "token new" in command:
                    secret = done.stdout.strip()
                    assert secret not in (bank.path / "rpc-tokens.json").read_text()
                if whose == "colleague":
                    asked.append(command)
        assert len(asked) == 2
        gone = typed(asked[0], hers, secret)
        assert "HTTP 401" in gone.stderr
        operated = assent("org", "list", "--as", bank.path)
        assert operated.returncode == 0, operated.stderr
        unnamed = asked[0].replace(f" --pin {key}", "")
        assert "a token goes to the node that it is for alone" in typed(unnamed, hers, secret).stderr
        by_key = typed(f"{unnamed} --key {bank.key('admin')}", hers)
        assert by_key.returncode == 0, by_key.stderr
        assert assent("status", bank.path, "--check").returncode == 0
        anybody = ssl._create_unverified_context()
        with urllib.request.urlopen(f"https://127.0.0.1:{port}/health", context=anybody, timeout=10) as page:
            assert page.status == 200
        with urllib.request.urlopen(f"https://127.0.0.1:{port}/head", context=anybody, timeout=10) as page:
            stated = head_from_json(json.loads(page.read()))
        genesis = load_genesis(made.genesis)
        assert (stated.chain_id, stated.node) == (genesis.chain_id, genesis.validator_keys[0])
        assert stated.holds()
        assert "head: it states height" in assent("doctor", bank.path).stdout
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(f"https://127.0.0.1:{port}/metrics", context=anybody, timeout=10)
    finally:
        assent("stop", bank.path)


@pytest.mark.functional
def test_a_node_that_others_would_reach_unasked_does_not_start(tmp_path: Path) -> None:
    made = create_consortium(tmp_path / "c", ["bank"], [], 0, "closed")
    bank = made.org("bank")
    text = bank.node_config.read_text()
    bank.node_config.write_text(re.sub(r"\[rpc\]\nlisten = .*\n", '[rpc]\nlisten = "0.0.0.0:1"\n', text))
    refused = assent("node", "run", "--config", bank.node_config)
    assert refused.returncode == 78
    said = (
        "node.toml: rpc.listen = '0.0.0.0:1': other hosts reach it, and [rpc] tls and principals is off; set"
    )
    assert said in refused.stderr


@pytest.mark.functional
def test_the_key_of_a_node_that_is_no_founders_is_learned_from_the_ledger_as_the_document_says(
    tmp_path: Path,
) -> None:
    """By the key that it had its new one is refused; by another node's word, proved, it is the pin."""
    made = create_consortium(tmp_path / "host", ["bank", "bureau"], [], 0, "joins")
    urls = {}
    for org in made.orgs:
        before = org.node_config.read_text()
        org.node_config.write_text(before.replace("[rpc]", "[rpc]\ntls = true\nprincipals = true"))
        urls[org.name] = f"https://{load_node_config(org.node_config)[0].rpc.listen}"
    bureau = made.org("bureau")
    shutil.copy(made.genesis, tmp_path / "genesis.json")
    text = (REPOSITORY / "docs/rpc.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```console newcomer\n(.*?)```", text, re.DOTALL)
    block = block.replace("https://10.0.0.7:30301", urls["bank"]).replace(
        "https://10.0.0.8:30301", urls["bureau"]
    )
    block = block.replace("BANK_KEY", load_genesis(made.genesis).validator_keys[0].hex())
    learn, ask = re.findall(r"^\$ (assent .*)$", block, re.MULTILINE)
    try:
        assert assent("start", made.path).returncode == 0
        for org in made.orgs:
            secret = typed(f"assent node token new anna --config {org.node_config}", tmp_path)
            assert secret.returncode == 0, secret.stderr
            urls[org.name] = secret.stdout.strip()
        assert assent("key", "new", bureau.path / "next.key").returncode == 0
        moved = assent(
            "validator",
            "rotate-key",
            "bureau-node",
            "--new-key",
            bureau.path / "next.key",
            "--as",
            bureau.path,
        )
        assert moved.returncode == 0, moved.stderr
        new = json.loads(assent("key", "show", bureau.path / "next.key", "--json").stdout)["public"]
        unpinned = ask.replace("NODE_KEY", load_genesis(made.genesis).validator_keys[1].hex())

        def refused() -> bool:
            return f"shows the key {new}" in typed(unpinned, tmp_path, urls["bureau"]).stderr

        processes.wait_until(bureau, "node", refused, 90)
        learned = typed(learn, tmp_path, urls["bank"])
        assert learned.returncode == 0, learned.stderr
        assert "verified: state proofs under certified headers" in learned.stdout
        (pin,) = re.findall(r"([0-9a-f]{64})\s+bureau-node", learned.stdout)
        assert pin == new
        known = typed(ask.replace("NODE_KEY", pin), tmp_path, urls["bureau"])
        assert known.returncode == 0, known.stderr
    finally:
        assent("stop", made.path)
