"""Recovery: whether the parts of a data directory agree when it is opened, and if not, which do not."""

from __future__ import annotations

from chain.ledger.block import Batch, Header, header_hash
from chain.ledger.genesis import Genesis
from chain.ledger.queries import Queries
from chain.ledger.state.state import node_loader
from chain.ledger.store import rows
from chain.ledger.store.faults import DataDamaged
from chain.ledger.store.port import Reader, Store
from chain.ledger.store.rows import LedgerHead
from chain.primitives.codec import decode, encode
from chain.primitives.crypto import ZERO_HASH
from chain.primitives.errors import AssentError, DecodeError, Exit

_REMEDY = "run `assent node rebuild`, or remove the directory and let the node fetch the chain from its peers"


class WrongGenesis(AssentError):
    """A data directory of another chain: name the right directory, or the right genesis file."""

    code = "wrong_genesis"
    exit = Exit.CONFIG


def check_genesis_row(store: Reader, genesis: Genesis) -> bool:
    """Return whether the store holds this chain; False when it holds none; raise WrongGenesis."""
    row = store.get(rows.GENESIS_KEY)
    if row is None:
        return False
    if row != encode(genesis):
        try:
            held = decode(Genesis, row)
        except DecodeError:
            raise damaged("the genesis row is unreadable") from None
        raise WrongGenesis(
            f"data directory: holds chain {held.chain_name!r} {held.chain_id.hex()[:16]}, the genesis is "
            f"{genesis.chain_name!r} {genesis.chain_id.hex()[:16]}; name the right directory or genesis"
        )
    return True


def check_directory(store: Store) -> int:
    """Return the certified height if the parts agree; raise DataDamaged naming the part."""
    queries = Queries(store)
    if store.get(rows.REBUILD_KEY) is not None:
        raise DataDamaged("ledger: a rebuild was interrupted; run `assent node rebuild` again")
    store.check_records()
    try:
        head = queries.head()
        header = _check_head(store, queries, head)
        _check_state_root(store, queries, header)
        return _check_certified(store, queries, head)
    except DecodeError as error:
        raise damaged(f"a row is unreadable ({error})") from None


def damaged(what: str) -> DataDamaged:
    """Return the error for parts that disagree."""
    return DataDamaged(f"ledger: {what}; {_REMEDY}")


def _check_head(store: Store, queries: Queries, head: LedgerHead) -> Header:
    header = queries.header(head.height)
    if header is None or header_hash(header) != head.header_hash:
        raise damaged(f"the head row says height {head.height}, its header is missing or another")
    newest = next(store.iterate(prefix=rows.HEADER, reverse=True, limit=1))
    if rows.height_of(newest[0]) != head.height:
        raise damaged(f"the head row says height {head.height}, there are headers above it")
    if queries.height_of(head.header_hash) != head.height:
        raise damaged(f"the index of header hashes lacks height {head.height}")
    if head.height < queries.pruned.below().blocks:
        return header  # the node began from a snapshot of this very height
    payload = queries.payload(head.height)
    if payload is None:
        raise damaged(f"the batch of height {head.height} is missing")
    count = len(decode(Batch, payload).tx_ids) if payload else 0
    expected = max(count, 1) if head.height == 0 else count
    if len(queries.transactions(head.height)) != count or len(queries.receipts(head.height)) != expected:
        raise damaged(f"height {head.height} has {count} transactions; some of their rows are missing")
    if header.skip is not None and queries.skip(head.height) is None:
        raise damaged(f"the skip decision of height {head.height} is missing")
    return header


def _check_state_root(store: Store, queries: Queries, header: Header) -> None:
    row = store.get(rows.at(rows.ROOT, header.height))
    if row is None:
        raise damaged(f"the state of height {header.height} is missing")
    root = queries.tree_root(header.height)
    if (ZERO_HASH if root is None else root[0]) != header.state_root:
        raise damaged(f"the state root of height {header.height} is not its header's")
    if root is not None:
        node_loader(store)(root[1], b"", root[0])


def _check_certified(store: Store, queries: Queries, head: LedgerHead) -> int:
    row = store.get(rows.CERTIFIED_KEY)
    height = 0 if row is None else int.from_bytes(row, "big")
    if height == 0:
        return 0
    certificate, header = queries.certificate(height), queries.header(height)
    if height > head.height or certificate is None or header is None:
        raise damaged(f"certified height {height} has no certificate, or lies above the head {head.height}")
    if certificate.header_hash != header_hash(header):
        raise damaged(f"the certificate of height {height} is over another header")
    return height
