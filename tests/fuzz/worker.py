"""One target under atheris (libFuzzer): python -m tests.fuzz.worker TARGET FOLDER SECONDS SEED."""

from __future__ import annotations

import random
import sys
import tracemalloc
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["chain", "consensus", "contracts"]):
    from tests.fuzz.guard import feed
    from tests.fuzz.mutate import hostile
    from tests.fuzz.targets import TARGETS

ONE_INPUT_S = 20
RSS_MIB = 4_096


def main() -> None:
    """Fuzz until the time is over; a crash is written to FOLDER and ends the process with its traceback."""
    name, folder, seconds, seed = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    target = TARGETS[name]
    seeds = target.seeds()
    corpus = folder / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(seeds):
        (corpus / f"seed-{number}").write_bytes(data)

    def mutate(data: bytes, max_size: int, number: int) -> bytes:
        source = random.Random(number)
        if source.random() < 0.4:
            return bytes(atheris.Mutate(data, max_size))
        return hostile(source, [data, *seeds], max_size)

    def run(data: bytes) -> None:
        feed(target, data)

    tracemalloc.start()
    flags = [
        f"-max_total_time={seconds}", f"-max_len={target.limit}", f"-timeout={ONE_INPUT_S}", f"-seed={seed}",
        f"-rss_limit_mb={RSS_MIB}", f"-artifact_prefix={folder}/", "-print_final_stats=1", "-verbosity=1",
    ]  # fmt: skip
    atheris.Setup([sys.argv[0], *flags, str(corpus)], run, custom_mutator=mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
