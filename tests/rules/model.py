"""The reference model: what the system contracts must answer, announce and keep, by their README alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from tests.rules.base import Refused, Signer, Told
from tests.rules.model_governance import Node, Seat
from tests.rules.model_lifecycle import Deployed, Running
from tests.rules.policies import Code, Trait
from tests.rules.rows import CONTRACTS, Rows

SYSTEM = Trait(answers=False, exports=frozenset())
NOBODY = Signer("", frozenset(), b"")


@dataclass(frozen=True, slots=True)
class Step:
    """One call: how much later than the one before, by which key (its name), and what."""

    ms: int
    blocks: int
    who: str
    target: str
    args: Mapping[str, Any]
    asks: bool = False
    """Whether it is a question from outside the chain."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a call must come to: a result, or one of these codes."""

    codes: frozenset[str] = frozenset()
    result: Any = None
    told: tuple[Told, ...] = ()


class Model(Rows):
    """Every rule, over one history."""

    @classmethod
    def genesis(cls, chain_id: bytes, time: int, init: Mapping[str, Any], codes: Mapping[str, Code]) -> Model:
        """Start as genesis says; `codes` are those of the system contracts."""
        model = cls(chain_id)
        model.time = time
        model.found(init["orgs"]["orgs"])
        model.limits = dict(init["governance"]["limits"])
        model.nodes = tuple(Node(**node) for node in init["governance"]["nodes"])
        model.seats = {node.public_key: Seat(node.org, node.name, "seated") for node in model.nodes}
        model.profiles = {profile["name"]: profile for profile in init["grants"]["profiles"]}
        model.found_pages(init["programs"]["pages"])
        for name in CONTRACTS:
            version = Running(1, codes[name], 0, (), {}, "genesis", 0)
            model.deployed[name] = Deployed(name, True, (version,))
            model.history[name, 1] = version
            model.ran[name] = [(1, 0)]
            model.numbered[name] = 1
        return model

    def answer(self, sender: bytes, step: Step) -> Answer:
        """Carry a call out, by the rules."""
        self.calls += 1
        self.time += step.ms
        self.height += step.blocks
        contract, method = step.target.split(".")
        try:
            result = self._do(sender, contract, method, step)
        except Refused as refused:
            return Answer(refused.codes)
        self.counts.update(self.counting)
        self.acts.update(self.acting)
        return Answer(result=result, told=tuple(self.told))

    def _do(self, sender: bytes, contract: str, method: str, step: Step) -> Any:
        try:
            signer = self.signer_of(sender)
        except Refused:
            if not step.asks:
                raise
            signer = NOBODY
        self.begin(signer, step.asks)
        if contract not in CONTRACTS:
            return self.member_call(contract, method)
        if not step.asks:
            self.need(not self.frozen(contract), "CONTRACT_FROZEN")
        rule = getattr(self, f"{contract}_{method}", None)
        self.need(rule is not None, "UNKNOWN_METHOD")
        assert rule is not None
        sight = None if step.asks else self.see(step.target, step.args)
        if sight is None:
            return self._perform(rule, step)
        answer, note = sight
        if answer["now"]:
            result = self._perform(rule, step)
            note()
            return result
        trial = deepcopy(self)
        trial._perform(getattr(trial, rule.__name__), step)
        note()
        return answer

    def _perform(self, rule: Callable[..., Any], step: Step) -> Any:
        result = rule(**step.args)
        self.go()
        return result


def system_code(program: Any) -> Code:
    """Return what the model knows of a system contract's program."""
    return Code(program.source_hash, program.ir_hash, program.engine, program.abi, program.size, SYSTEM)
