"""The self-check: a node compiles and runs one fixed contract before it votes, so that no host differs."""

from __future__ import annotations

from chain.primitives.crypto import digest
from contracts.language.faults import HostTrouble
from contracts.replicas import outcome_bytes
from contracts.testing import LocalChain

SAMPLE = '''"""Touches every part of the language whose reading could differ between hosts."""

LIMITS = {"low": 1, "high": 3}
entries = Map(str, dict)
total = Var(int, 0)
Noted = Event(item=subject, parts=list)
Refused = Error("REFUSED")

@export
def work(name: str, numbers: list[int]) -> dict:
    require(len(numbers) > 0, "NOTHING")
    seen = {}
    for place, number in enumerate(sorted(numbers, reverse=True)):
        if number < 0:
            raise Refused
        seen[str(number)] = place if number % 2 == 0 else number ** 3 // 7 << 2
    text = f"{name}: {{}}" + "-".join([key for key in seen if key not in ("1", "3")]).upper()
    record = {"text": text, "seen": seen, "hash": sha256(encode(seen)), "raw": b"\\x00" + text.encode()[:4]}
    entries[name] = record
    total.set(total.get() + LIMITS["high"] * sum([value for value in seen.values()]))
    Noted(item="org:" + ctx.org, parts=[place for place in range(3) if place != 1])
    while total.get() > 100:
        total.set(total.get() // 2)
    return {"total": total.get(), "record": entries[name], "old": entries.get("nobody", (None, True))}
'''
IR_HASH = "021105ba728bed88414a6d559991f937428ccd54388fa148cb3fd4d52e9f6ebe"
OUTCOME = "f2720b4f6d356566825cdc3258eeddf119a8a983eeda241dfd4bb7acf44a52d2"


def computed() -> tuple[str, str]:
    """Return (IR hash, digest of the outcome) of the sample on this host, as hex."""
    chain = LocalChain("tester")
    chain.deploy(SAMPLE, "sample")
    chain.call("sample", "work", name="é中", numbers=[5, 2, 9, 2**70, 0])
    program = chain.runtime.program(SAMPLE)
    return program.ir_hash.hex(), digest("assent/self-check", outcome_bytes(chain.last)).hex()


def self_check() -> None:
    """Raise HostTrouble unless this host compiles and runs the sample as every other one does (3 ms)."""
    ir_hash, outcome = computed()
    if ir_hash != IR_HASH:
        raise HostTrouble(f"this host compiles contracts differently (IR {ir_hash[:16]}): do not let it vote")
    if outcome != OUTCOME:
        raise HostTrouble(
            f"this host runs contracts differently (outcome {outcome[:16]}): do not let it vote"
        )


if __name__ == "__main__":  # after a deliberate change of the language: print the new constants
    print("\n".join(computed()))
