"""The RPC methods, with the names that operators of this field know: what each needs, and its parameters."""

from __future__ import annotations

from collections.abc import Mapping

from chain.api.methods.access import AccessMethods
from chain.api.methods.blocks import BlockMethods
from chain.api.methods.contracts import ContractMethods
from chain.api.methods.events import EventMethods
from chain.api.methods.history import HistoryMethods
from chain.api.methods.membership import MembershipMethods
from chain.api.methods.state import StateMethods
from chain.api.methods.status import StatusMethods
from chain.api.methods.transactions import TransactionMethods
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
from chain.api.port import NodePort
from chain.api.principals import AccessScope
from chain.api.replacing import while_whole
from chain.api.rpc import Method

OPEN, READ, SUBMIT, OPERATE, AUDIT = (
    AccessScope.OPEN,
    AccessScope.READ,
    AccessScope.SUBMIT,
    AccessScope.OPERATE,
    AccessScope.AUDIT,
)


def method_table(node: NodePort) -> Mapping[str, Method]:
    """Return every method that a node answers."""
    blocks, members, status = BlockMethods(node), MembershipMethods(node), StatusMethods(node)
    transactions, contracts, state = TransactionMethods(node), ContractMethods(node), StateMethods(node)
    events, history, access = EventMethods(node), HistoryMethods(node), AccessMethods(node)
    return while_whole(
        node.ledger,
        {
            "getChallenge": Method(OPEN, Nothing, access.challenge),
            "openSession": Method(OPEN, SessionRequest, access.session),
            "getBlockNumber": Method(READ, Nothing, blocks.number),
            "getBlockByNumber": Method(READ, AtHeight, blocks.by_number),
            "getBlockByHash": Method(READ, ByHash, blocks.by_hash),
            "getHeader": Method(READ, AtHeight, blocks.header),
            "getGenesis": Method(READ, Nothing, blocks.genesis),
            "getSealerList": Method(READ, Nothing, members.validators),
            "getSkipDecision": Method(READ, AtHeight, blocks.skip),
            "getSetChanges": Method(READ, AboveHeight, members.set_changes),
            "getObserverList": Method(OPERATE, Nothing, members.observers),
            "getConsensusStatus": Method(OPERATE, Nothing, status.consensus),
            "getSyncStatus": Method(OPERATE, Nothing, status.sync),
            "getPeers": Method(OPERATE, Nothing, status.peers),
            "getNodeInfo": Method(READ, Nothing, status.info),
            "getEvidence": Method(AUDIT, AfterEvidence, status.evidence),
            "sendTransaction": Method(SUBMIT, SendOne, transactions.send),
            "sendTransactions": Method(SUBMIT, SendMany, transactions.send_many),
            "getTransaction": Method(READ, ById, transactions.get),
            "getTransactionReceipt": Method(READ, ReceiptOf, transactions.receipt),
            "explainTransaction": Method(AUDIT, ById, transactions.explain),
            "getPendingTxSize": Method(OPERATE, Nothing, transactions.pending),
            "getTotalTransactionCount": Method(READ, Nothing, transactions.total),
            "call": Method(READ, CallView, contracts.call),
            "getCode": Method(READ, ContractName, contracts.code),
            "getABI": Method(READ, ContractName, contracts.abi),
            "getState": Method(READ, StateEntry, state.entry),
            "getStateRange": Method(READ, StateRange, state.range),
            "getEvents": Method(READ, EventQuery, events.events),
            "getHistory": Method(AUDIT, History, history.history),
        },
    )
