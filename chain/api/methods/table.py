"""The RPC methods, with the names that operators of this field know: what each needs, and its parameters."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from chain.api import results
from chain.api.methods.access import AccessMethods
from chain.api.methods.blocks import BlockMethods
from chain.api.methods.contracts import ContractMethods
from chain.api.methods.events import EventMethods
from chain.api.methods.history import HistoryMethods
from chain.api.methods.membership import MembershipMethods
from chain.api.methods.state import StateMethods
from chain.api.methods.status import StatusMethods
from chain.api.methods.transactions import TransactionMethods
from chain.api.openrpc import openrpc_document
from chain.api.params import (
    AboveHeight,
    AfterEvidence,
    AtHeight,
    ByHash,
    ById,
    CallView,
    ContractName,
    EventQuery,
    History,
    Nothing,
    ReceiptOf,
    SendMany,
    SendOne,
    SessionRequest,
    StateEntry,
    StateRange,
)
from chain.api.port import NodePort, NotFound, ViewFailed
from chain.api.principals import AccessScope
from chain.api.replacing import while_whole
from chain.api.rpc import Method
from chain.ledger.explain import ReplayDiffers
from chain.mempool.refusals import REFUSALS

OPEN, READ, SUBMIT, OPERATE, AUDIT = (
    AccessScope.OPEN,
    AccessScope.READ,
    AccessScope.SUBMIT,
    AccessScope.OPERATE,
    AccessScope.AUDIT,
)


REPLAY = (ReplayDiffers,)


class Discovery:
    """The RPC method that tells of all methods."""

    def of(self, methods: Mapping[str, Method]) -> None:
        """Take the table that it tells of, which holds this method, too."""
        self._methods = methods

    async def document(self, _: Nothing) -> dict[str, Any]:
        """Return the OpenRPC document of this node's methods."""
        return self._document

    @cached_property
    def _document(self) -> dict[str, Any]:
        return openrpc_document(self._methods)


def method_table(node: NodePort) -> Mapping[str, Method]:
    """Return every method that a node answers."""
    blocks, members, status = BlockMethods(node), MembershipMethods(node), StatusMethods(node)
    transactions, contracts, state = TransactionMethods(node), ContractMethods(node), StateMethods(node)
    events, history, access = EventMethods(node), HistoryMethods(node), AccessMethods(node)
    discover = Discovery()
    table = while_whole(
        node.ledger,
        {
            "rpc.discover": Method(READ, Nothing, discover.document, results.DOCUMENT),
            "getChallenge": Method(OPEN, Nothing, access.challenge, results.CHALLENGE, (NotFound,)),
            "openSession": Method(OPEN, SessionRequest, access.session, results.SESSION, (NotFound,)),
            "getBlockNumber": Method(READ, Nothing, blocks.number, results.WHOLE),
            "getBlockByNumber": Method(READ, AtHeight, blocks.by_number, results.BLOCK),
            "getBlockByHash": Method(READ, ByHash, blocks.by_hash, results.BLOCK),
            "getHeader": Method(READ, AtHeight, blocks.header, results.PROOF),
            "getGenesis": Method(READ, Nothing, blocks.genesis, results.GENESIS),
            "getSealerList": Method(READ, Nothing, members.validators, results.VALIDATORS),
            "getSkipDecision": Method(READ, AtHeight, blocks.skip, results.DECISION),
            "getSetChanges": Method(READ, AboveHeight, members.set_changes, results.SET_CHANGES),
            "getObserverList": Method(OPERATE, Nothing, members.observers, results.PEERS),
            "getConsensusStatus": Method(OPERATE, Nothing, status.consensus, results.CONSENSUS),
            "getSyncStatus": Method(OPERATE, Nothing, status.sync, results.SYNC),
            "getPeers": Method(OPERATE, Nothing, status.peers, results.PEERS),
            "getNodeInfo": Method(READ, Nothing, status.info, results.NODE),
            "getEvidence": Method(AUDIT, AfterEvidence, status.evidence, results.EVIDENCE),
            "sendTransaction": Method(SUBMIT, SendOne, transactions.send, results.SENT, REFUSALS),
            "sendTransactions": Method(SUBMIT, SendMany, transactions.send_many, results.SENT_MANY),
            "getTransaction": Method(READ, ById, transactions.get, results.TRANSACTION),
            "getTransactionReceipt": Method(READ, ReceiptOf, transactions.receipt, results.RECEIPT),
            "explainTransaction": Method(AUDIT, ById, transactions.explain, results.EXPLANATION, REPLAY),
            "getPendingTxSize": Method(OPERATE, Nothing, transactions.pending, results.WHOLE),
            "getTotalTransactionCount": Method(READ, Nothing, transactions.total, results.TOTALS),
            "call": Method(READ, CallView, contracts.call, results.VIEW, (ViewFailed,)),
            "getCode": Method(READ, ContractName, contracts.code, results.CODE),
            "getABI": Method(READ, ContractName, contracts.abi, results.ANY),
            "getState": Method(READ, StateEntry, state.entry, results.ENTRY),
            "getStateRange": Method(READ, StateRange, state.range, results.RANGE),
            "getEvents": Method(READ, EventQuery, events.events, results.EVENTS),
            "getHistory": Method(AUDIT, History, history.history, results.HISTORY),
        },
    )
    discover.of(table)
    return table
