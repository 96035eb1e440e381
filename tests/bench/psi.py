"""Private joins between processes over TLS 1.3 on loopback: what `scripts/bench psi` prints.

Two owners and a third party: each owner reads its own Parquet file and ends with the numbers of its common
rows, in the order that both have. The third aids an `aided` join, and waits out a `dh-psi` one. What was
joined is held against DuckDB's join of the same files.
"""

from __future__ import annotations

import os
import resource
import sys
import tempfile
import time
from hashlib import sha256
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from privcompute.mpc.protocols.aided import AidedSpec, aided_join, help_join
from privcompute.mpc.protocols.psi import PsiSpec, private_join
from privcompute.mpc.rounds import Round, Steps
from privcompute.net.links import Links
from tests.bench.mpc import be_party, three_parties

PROTOCOLS = ("aided", "dh-psi")
OWNERS, THIRD = (0, 1), 2
_CONTEXT = bytes(32)


def run(rows: int, protocol: str) -> dict[str, Any]:
    """Join two files of so many rows, half of them common; return a JSON-ready report.

    {"total_s", "common", "content", "parties": [{"cpu_s", "memory_mb", "sent_bytes"}, …]}: `total_s` is that
    of the slowest party from its file to its rows, `content` the SHA-256 of the common identifiers, sorted.
    Raises RuntimeError where parties, or DuckDB, have other rows in common.
    """
    with tempfile.TemporaryDirectory() as folder:
        files = _write(Path(folder), rows)
        reports = three_parties("tests.bench.psi", protocol, folder)
        joined = duckdb.sql(_JOIN.format(*files))
        assert joined is not None
        expected = _content(joined.to_arrow_table()["id"])
    owners = [reports[owner] for owner in OWNERS]
    if {one["content"] for one in owners} != {expected} or owners[0]["order"] != owners[1]["order"]:
        raise RuntimeError(f"{protocol}: the owners joined other rows than DuckDB, or in different orders")
    return {
        "protocol": protocol,
        "rows": rows,
        "total_s": round(max(one["seconds"] for one in reports), 3),
        "common": owners[0]["common"],
        "content": expected,
        "parties": [{name: one[name] for name in ("cpu_s", "memory_mb", "sent_bytes")} for one in reports],
    }


_JOIN = "SELECT a.id AS id FROM read_parquet('{}') a JOIN read_parquet('{}') b ON a.id = b.id"


def _write(folder: Path, rows: int) -> list[Path]:
    numbers, files = np.random.default_rng(1), []
    for owner in OWNERS:
        places = numbers.permutation(rows) + owner * (rows // 2)
        ids = pc.binary_join_element_wise("person-", pa.array(places).cast(pa.string()), "")
        files.append(folder / f"{owner}.parquet")
        pq.write_table(pa.table({"id": ids}), files[-1])
    return files


def _content(ids: Any) -> str:
    """Return the hash of identifiers, in sorted order."""
    return _in_order(ids.take(pc.sort_indices(ids)))


def _in_order(ids: Any) -> str:
    texts = ids.cast(pa.large_string())
    parts = texts.chunks if isinstance(texts, pa.ChunkedArray) else [texts]
    joined = sha256()
    for part in parts:
        joined.update("\n".join([*part.to_pylist(), ""]).encode())
    return joined.hexdigest()


def _measure(me: int, protocol: str, folder: str, links: Links) -> Steps[dict[str, Any]]:
    others = [party for party in range(3) if party != me]
    yield Round(dict.fromkeys(others, b"\0"), dict.fromkeys(others, 1))
    begin, cpu = time.perf_counter(), time.process_time()
    ids = pq.read_table(Path(folder) / f"{me}.parquet")["id"].combine_chunks() if me in OWNERS else None
    rows = yield from _join(me, protocol, ids)
    report: dict[str, Any] = {
        "seconds": time.perf_counter() - begin,
        "cpu_s": round(time.process_time() - cpu, 3),
        "memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_000),
        "sent_bytes": links.sent_bytes,
    }
    if ids is not None:
        common = ids.take(pa.array(rows))
        report |= {"common": len(common), "content": _content(common), "order": _in_order(common)}
    return report


def _join(me: int, protocol: str, ids: Any) -> Steps[Any]:
    if protocol == "dh-psi":
        if ids is None:
            return None
        return (
            yield from private_join(
                PsiSpec(_CONTEXT, OWNERS, OWNERS[1]), me, ids.to_pylist(), random=os.urandom
            )
        )
    spec = AidedSpec(_CONTEXT, OWNERS, THIRD)
    if ids is None:
        return (yield from help_join(spec, random=os.urandom))
    return (yield from aided_join(spec, me, ids, random=os.urandom))


if __name__ == "__main__":
    be_party(int(sys.argv[1]), lambda links: _measure(int(sys.argv[1]), sys.argv[2], sys.argv[3], links))
