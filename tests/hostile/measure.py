"""Run hostile programs, each in a process of its own that the kernel bounds; print what each did and took.

    python tests/hostile/measure.py [category/name …]
    python tests/hostile/measure.py --generated COUNT SEED

One line of JSON a program: verdict, CPU seconds, peak memory beyond the idle interpreter's, and whether the
honest contract, run right after it in the same process, had the same outcome as in a fresh one.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from corpus import Program, everything
from shapes import program_of

from chain.primitives.errors import AssentError
from chain.primitives.jsonvalue import to_json
from contracts.check import run_source
from contracts.testing import LocalChain

MEMORY_MAX = 64 * 1024 * 1024
CPU_SECONDS_MAX = 1
CPU_SECONDS_PER_GAS = 4e-7
"""Five times the median that `assent bench gas` finds on a quiet machine, doubled for one that is not."""
HONEST = """
taken = Map(str, int)
Taken = Event(by=subject, left=int)

@export
def main():
    texts = sorted([str(n) for n in range(50)], reverse=True)
    taken["a"] = len("-".join(texts))
    Taken(by="org:" + ctx.org, left=taken["a"])
    return {"sum": sum([n * n for n in range(10)]), "texts": texts[:3]}
"""


TRACES = """
@export
def main(page: str) -> bool:
    return len(trace_page(page, [], {}, "")) > 0
"""


def verdict_of(program: Program) -> dict[str, Any]:
    """Run a program: alone on an empty chain, or as transactions of a deployed contract; or trace a page."""
    if program.page:
        return traced(program)
    if not program.before and not program.peer:
        return run_source(program.source, "main", {}, gas=program.gas, libraries=program.libraries)
    chain = LocalChain("tester")
    for library in program.libraries:
        chain.library(library)
    if program.peer:
        chain.deploy(program.peer, "other")
    chain.deploy(program.source, "contract")
    account = chain.as_("tester")
    result = None
    for method in (*program.before, "main"):
        try:
            result = to_json(account.call("contract", method, gas=program.gas))
        except AssentError:
            result = None
    last = chain.last
    return {"status": last.status, "code": last.code or None, "result": result, "gas": last.gas_used}


def traced(program: Program) -> dict[str, Any]:
    """Have a page traced, as the contract `programs` has it."""
    chain = LocalChain("tester")
    chain.deploy(TRACES, "programs")
    result = None
    with suppress(AssentError):
        result = chain.as_("tester").call("programs", "main", page=program.page, gas=program.gas)
    last = chain.last
    return {"status": last.status, "code": last.code or None, "result": result, "gas": last.gas_used}


def in_child(program: Program, fresh: dict[str, Any]) -> dict[str, Any]:
    """Run a program and then the honest contract, under limits that the kernel enforces."""
    pages, resident = map(int, Path("/proc/self/statm").read_text(encoding="ascii").split()[:2])
    page = resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (pages * page + MEMORY_MAX,) * 2)
    resource.setrlimit(resource.RLIMIT_CPU, (int(seconds_max(program.gas)) + 1,) * 2)
    started = time.process_time()
    found = verdict_of(program)
    found["seconds"] = round(time.process_time() - started, 4)
    found["honest"] = run_source(HONEST, "main", {}) == fresh
    found["memory"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - resident * page
    return found


def seconds_max(gas: int) -> float:
    """Return the CPU seconds that a program of this gas limit may take."""
    return max(CPU_SECONDS_MAX, CPU_SECONDS_PER_GAS * gas)


def measured(program: Program, fresh: dict[str, Any]) -> dict[str, Any]:
    """Fork, run, and return what the child reported, or how it died."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            report = in_child(program, fresh)
        except BaseException as error:
            report = {"status": "died", "code": f"{type(error).__name__}: {error}"}
        with os.fdopen(writing, "w") as out:
            json.dump(report, out)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as read:
        text = read.read()
    _, status = os.waitpid(child, 0)
    if not text:
        return {"status": "died", "code": f"killed: wait status {status}"}
    report = json.loads(text)
    return dict(report)


def main() -> None:
    """Measure the named programs, or all of them, or as many generated ones."""
    names = sys.argv[1:]
    if names[:1] == ["--generated"]:
        programs = {f"{names[2]}/{n}": program_of(f"{names[2]}/{n}") for n in range(int(names[1]))}
        names = []
    else:
        programs = everything()
    fresh = run_source(HONEST, "main", {})
    for name in names or programs:
        print(json.dumps({"name": name, **measured(programs[name], fresh)}), flush=True)


if __name__ == "__main__":
    main()
