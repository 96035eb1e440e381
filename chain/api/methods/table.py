"""The RPC methods, with the names that operators of this field know, and the parameters of each."""

from __future__ import annotations

from collections.abc import Mapping

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
    StateEntry,
    StateRange,
)
from chain.api.port import NodePort
from chain.api.replacing import while_whole
from chain.api.rpc import Method


def method_table(node: NodePort) -> Mapping[str, Method]:
    """Return every method that a node answers."""
    blocks, members, status = BlockMethods(node), MembershipMethods(node), StatusMethods(node)
    transactions, contracts, state = TransactionMethods(node), ContractMethods(node), StateMethods(node)
    events, history = EventMethods(node), HistoryMethods(node)
    return while_whole(
        node.ledger,
        {
            "getBlockNumber": Method(Nothing, blocks.number),
            "getBlockByNumber": Method(AtHeight, blocks.by_number),
            "getBlockByHash": Method(ByHash, blocks.by_hash),
            "getHeader": Method(AtHeight, blocks.header),
            "getGenesis": Method(Nothing, blocks.genesis),
            "getSealerList": Method(Nothing, members.validators),
            "getSkipDecision": Method(AtHeight, blocks.skip),
            "getSetChanges": Method(AboveHeight, members.set_changes),
            "getObserverList": Method(Nothing, members.observers),
            "getConsensusStatus": Method(Nothing, status.consensus),
            "getSyncStatus": Method(Nothing, status.sync),
            "getPeers": Method(Nothing, status.peers),
            "getNodeInfo": Method(Nothing, status.info),
            "getEvidence": Method(AfterEvidence, status.evidence),
            "sendTransaction": Method(SendOne, transactions.send),
            "sendTransactions": Method(SendMany, transactions.send_many),
            "getTransaction": Method(ById, transactions.get),
            "getTransactionReceipt": Method(ReceiptOf, transactions.receipt),
            "explainTransaction": Method(ById, transactions.explain),
            "getPendingTxSize": Method(Nothing, transactions.pending),
            "getTotalTransactionCount": Method(Nothing, transactions.total),
            "call": Method(CallView, contracts.call),
            "getCode": Method(ContractName, contracts.code),
            "getABI": Method(ContractName, contracts.abi),
            "getState": Method(StateEntry, state.entry),
            "getStateRange": Method(StateRange, state.range),
            "getEvents": Method(EventQuery, events.events),
            "getHistory": Method(History, history.history),
        },
    )
