"""Transfer: parts of a ledger to chain files and back. Everything that is read is checked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from chain.ledger.block import Block, receipts_root
from chain.ledger.blockcheck import BlockInvalid, NotNext, check_block, check_signatures
from chain.ledger.files import chainfile
from chain.ledger.files.chainfile import (
    ARCHIVE,
    BLOCKS,
    SNAPSHOT,
    BlockReceipts,
    ChainFile,
    ChainFilePart,
    Preamble,
    Record,
)
from chain.ledger.genesis import Genesis
from chain.ledger.history.recovery import WrongGenesis
from chain.ledger.history.snapshot import StateLoad
from chain.ledger.ledger import Ledger
from chain.ledger.proof.anchor import Anchor, TrustedSets, make_anchor
from chain.ledger.proof.proofs import HeaderProof, SetChange
from chain.ledger.proof.prover import NotCertified
from chain.ledger.state.chunk import StateChunk, make_chunk
from chain.ledger.state.state import node_loader
from chain.primitives.codec import encode
from chain.primitives.errors import LimitError, ProofInvalid

Tell = Callable[[int, int], None]
"""Is told (done, all)."""


def silent(_done: int, _all: int) -> None:
    """Tell nobody."""


# --- writing --------------------------------------------------------------------------------------


def export_blocks(
    ledger: Ledger, path: Path, first: int, last: int, tell: Tell = silent, *, receipts: bool = False
) -> int:
    """Write the certified blocks first..last, with their receipts for an archive; return the bytes written.

    Raises LimitError (heights), NotHeld, NotCertified, FileExistsError.
    """
    certified = ledger.certified_height
    if not 1 <= first <= last <= certified:
        raise LimitError(f"heights {first}..{last}: expected 1 <= first <= last <= {certified}")
    ledger.read.pruned.require_blocks(first)
    preamble = _preamble(ledger.genesis, ARCHIVE if receipts else BLOCKS, first, last)
    return chainfile.save(path, preamble, _block_records(ledger, first, last, tell, receipts))


def _block_records(ledger: Ledger, first: int, last: int, tell: Tell, receipts: bool) -> Iterator[Record]:
    yield from _set_changes(ledger, last)
    for height in range(first, last + 1):
        block = ledger.read.block(height)
        if block is None:
            raise NotCertified(f"height {height}: its certificate is not here; export it from another node")
        yield ChainFilePart.BLOCK, encode(block)
        if receipts:
            kept = BlockReceipts(height, tuple(ledger.read.receipt_bytes(height)))
            yield ChainFilePart.RECEIPTS, encode(kept)
        tell(height - first + 1, last - first + 1)


def export_snapshot(ledger: Ledger, path: Path, height: int, tell: Tell = silent) -> int:
    """Write the state of a certified height with what proves it; return the bytes written.

    Raises UnknownHeight, NotHeld, NotCertified, FileExistsError.
    """
    ledger.read.pruned.require_state(height)
    anchor = make_anchor(ledger.read, height, ledger.genesis.limits.consensus_window)
    preamble = _preamble(ledger.genesis, SNAPSHOT, height, height)
    return chainfile.save(path, preamble, _snapshot_records(ledger, anchor, tell))


def _snapshot_records(ledger: Ledger, anchor: Anchor, tell: Tell) -> Iterator[Record]:
    yield from _set_changes(ledger, anchor.header.height)
    yield ChainFilePart.ANCHOR, encode(anchor)
    load, root = node_loader(ledger.store), ledger.read.tree_root(anchor.header.height)
    waiting, written = [b""], 0
    while waiting:
        path = waiting.pop()
        chunk = make_chunk(load, ledger.read.entry_at_leaf, root, path)
        assert chunk is not None  # it was named by the node above it
        waiting += chunk.paths()[::-1]
        written += 1
        yield ChainFilePart.CHUNK, encode(chunk)
        tell(written, written + len(waiting))


def _set_changes(ledger: Ledger, last: int) -> Iterator[Record]:
    for change in ledger.prove.set_changes():
        if change.header.headers[0].height <= last:
            yield ChainFilePart.SET_CHANGE, encode(change)


def _preamble(genesis: Genesis, holds: str, first: int, last: int) -> Preamble:
    return Preamble(holds, genesis.chain_id, genesis.chain_name, first, last)


# --- reading --------------------------------------------------------------------------------------


def check_chain(file: ChainFile, genesis: Genesis) -> None:
    """Raise WrongGenesis for a file of another chain."""
    said = file.preamble
    if said.chain_id != genesis.chain_id:
        raise WrongGenesis(
            f"{file.path}: holds chain {said.chain_name!r} {said.chain_id.hex()[:16]}, the genesis is "
            f"{genesis.chain_name!r} {genesis.chain_id.hex()[:16]}; name the right file or genesis"
        )


def import_blocks(ledger: Ledger, file: ChainFile, tell: Tell = silent) -> int:
    """Check, execute and store the blocks of a file that the ledger lacks; return how many those were.

    Raises FileDamaged, WrongGenesis, NotNext (there is a gap), ProofInvalid, LedgerDiverged.
    """
    check_chain(file, ledger.genesis)
    first, last = file.preamble.first, file.preamble.last
    head = ledger.head.height
    if first > head + 1:
        raise NotNext(f"{file.path}: begins at height {first}, the ledger takes {head + 1} next; "
                      "import what lies between first")  # fmt: skip
    added = 0
    for part, body in file.records():
        if part is not ChainFilePart.BLOCK:
            continue
        block = file.read(Block, body)
        height = block.header.height
        if height >= ledger.read.pruned.below().blocks:
            try:
                added += ledger.apply_block(block)
            except ProofInvalid as error:
                raise file.damaged(str(error)) from None
        tell(height - first + 1, last - first + 1)
    return added


def import_snapshot(ledger: Ledger, file: ChainFile, tell: Callable[[float], None] = lambda _: None) -> None:
    """Check a state against the genesis and replace the ledger's; `tell` hears the share, 0..1.

    Raises FileDamaged, WrongGenesis, SnapshotTooOld, SnapshotConflicts. What does not hold leaves nothing.
    """
    check_chain(file, ledger.genesis)
    sets, load = TrustedSets(ledger.genesis), None
    try:
        for part, body in file.records():
            if part is ChainFilePart.SET_CHANGE:
                sets.follow([file.read(SetChange, body)])
            elif part is ChainFilePart.ANCHOR and load is None:
                anchor = file.read(Anchor, body)
                load = ledger.replace(partial(StateLoad.begin, ledger.store, sets, anchor))
            elif part is ChainFilePart.CHUNK and load is not None:
                load.take(file.read(StateChunk, body))
                tell(load.loader.known_share)
        if load is None or not load.complete:
            raise file.damaged("it ends before the state is complete")
    except ProofInvalid as error:
        if load is not None:
            ledger.replace(load.abandon)
        raise file.damaged(str(error)) from None
    except BaseException:
        if load is not None:
            ledger.replace(load.abandon)
        raise
    ledger.replace(load.install)


def read_archive(file: ChainFile, genesis: Genesis) -> Iterator[tuple[Block, tuple[bytes, ...]]]:
    """Yield the blocks of an archive with their encoded receipts, each proved by the genesis alone.

    A file of blocks yields no receipts. Raises FileDamaged, WrongGenesis.
    """
    check_chain(file, genesis)
    sets = TrustedSets(genesis)
    waiting: Block | None = None
    for part, body in file.records():
        try:
            if part is ChainFilePart.SET_CHANGE:
                sets.follow([file.read(SetChange, body)])
            elif part is ChainFilePart.BLOCK:
                if waiting is not None:
                    yield waiting, ()
                waiting = file.read(Block, body)
                _check_proved(sets, waiting)
            elif part is ChainFilePart.RECEIPTS and waiting is not None:
                kept = file.read(BlockReceipts, body)
                if (kept.height, receipts_root(list(kept.receipts))) != (
                    waiting.header.height,
                    waiting.header.receipts_root,
                ):
                    raise BlockInvalid(f"receipts of height {kept.height}: not those of the block's header")
                yield waiting, kept.receipts
                waiting = None
        except ProofInvalid as error:
            raise file.damaged(str(error)) from None
    if waiting is not None:
        yield waiting, ()


def _check_proved(sets: TrustedSets, block: Block) -> None:
    sets.check_header(HeaderProof((block.header, *block.above), block.certificate))
    transactions = check_block(block, sets.chain_id, sets.at(block.header.height))
    check_signatures(block.header.height, transactions)  # the exact time needs the parent, which is not here
