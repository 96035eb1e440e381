"""What a node says it can prove is decoded, and anything else is refused in the node's name."""

from __future__ import annotations

from typing import Any

import pytest

from chain.client.answers import BadAnswer
from chain.client.client import Client
from chain.client.proofs import NodeProofs, follow_sets
from chain.ledger.proof.prover import SET_CHANGES_MAX
from chain.ledger.proof.verifier import ProofVerifier
from chain.ledger.testing import ToyChain, toy_genesis
from chain.primitives.codec import encode
from chain.primitives.errors import ProofInvalid

URL = "http://127.0.0.1:8545"


class Told:
    """A node that answers every call with the next of these."""

    url = URL

    def __init__(self, *answers: Any) -> None:
        self._answers = list(answers)
        self.calls: list[tuple[str, dict[str, Any]]] = []

    async def request(self, rpc_method: str, **params: Any) -> Any:
        self.calls.append((rpc_method, params))
        return self._answers.pop(0)


def proof_of(record: Any) -> dict[str, str]:
    return {"proof": encode(record).hex()}


@pytest.fixture(scope="module")
def chain() -> ToyChain:
    made = ToyChain()
    for number in range(3):
        made.add(made.call("put", {"key": number, "value": number}))
    return made


@pytest.mark.parametrize("answer", [None, 7, [], {}, {"proof": 7}, {"proof": "zz"}, {"proof": "00"}])
async def test_an_answer_that_is_no_proof_is_refused_in_the_name_of_the_node(answer: Any) -> None:
    with pytest.raises(BadAnswer, match=rf"^{URL}: its answer to getHeader is malformed"):
        await NodeProofs(Told(answer)).header(1)
    with pytest.raises(BadAnswer, match=rf"^{URL}: its answer to getState is malformed"):
        await NodeProofs(Told(answer)).state("toy", "values", 1, None)


async def test_what_a_node_does_not_know_is_none_and_no_error() -> None:
    for ask in ("transaction", "receipt"):
        assert await getattr(NodeProofs(Told(None)), ask)(bytes(32)) is None
    assert await NodeProofs(Told(None)).skip(1) is None


async def test_a_height_and_a_wait_are_asked_for_only_where_they_are_given(chain: ToyChain) -> None:
    entry = proof_of(chain.ledger.prove.state("toy", b"absent", 2))
    node = Told(entry, entry, None, None)
    proofs = NodeProofs(node)
    await proofs.variable("toy", "count", None)
    await proofs.variable("toy", "count", 2)
    await proofs.receipt(bytes(32))
    await proofs.receipt(bytes(32), 2_000)
    assert [sorted(params) for _, params in node.calls] == [
        ["contract", "var", "withProof"],
        ["contract", "height", "var", "withProof"],
        ["id", "withProof"],
        ["id", "waitMs", "withProof"],
    ]


@pytest.mark.parametrize("answer", [None, {}, [{}] * (SET_CHANGES_MAX + 1), [7]])
async def test_changes_of_the_validator_set_are_a_bounded_list_of_proofs(answer: Any) -> None:
    with pytest.raises(BadAnswer, match="getSetChanges"):
        await NodeProofs(Told(answer)).set_changes(0)


async def test_a_history_whose_parts_do_not_go_on_is_refused(chain: ToyChain) -> None:
    part = chain.ledger.prove.history("toy:1", 0, 3)
    node = Told(proof_of(part))
    assert await NodeProofs(node).history("toy:1", 0, 3) == part
    with pytest.raises(BadAnswer, match=r"a part of heights 0\.\.2 ends with height 3"):
        await NodeProofs(Told(proof_of(part))).history("toy:1", 0, 2)


async def test_sets_are_followed_until_there_are_no_more_and_none_makes_no_difference() -> None:
    verifier, followed = ProofVerifier(toy_genesis()), list[Any]()
    assert not await follow_sets(NodeProofs(Told([])), verifier, followed)
    assert followed == []


async def test_a_client_takes_what_its_node_can_prove_and_refuses_another_entry(
    chain: ToyChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client checks what `NodeProofs` brings; a true proof of something else is refused."""
    client = Client(URL, chain.genesis)
    node = Told(proof_of(chain.ledger.prove.header(2)), proof_of(chain.ledger.prove.header(2)))
    monkeypatch.setattr(client, "request", node.request)
    assert (await client.header(2)).height == 2
    with pytest.raises(ProofInvalid, match="proved header 2, not 1"):
        await client.header(1)
