"""The caps and the gas schedule of engine 2; whoever changes a number changes what every replica computes.

One unit of gas stands for about 70 ns: the median of what `scripts/bench gas` measures of every class of
operations, 67 ns on two virtual cores (contracts/README.md, Gas). No class may take 5 times the median. State
access and events carry the cost of storage and proofs. Work whose size is known from the code is charged once
per straight run of statements; work whose size depends on values is charged by the operation, before it is
done. Where the time depends on what the values hold (a search), the worst contents are charged.
"""

from __future__ import annotations

from chain.primitives.values import INT_BITS_MAX, INT_KEY_BOUND, VALUE_DEPTH_MAX

ENGINE = 2

# --- source ----------------------------------------------------------------------------------------------
SOURCE_BYTES_MAX = 65_536
SOURCE_TOKENS_MAX = 24_576
"""Names, numbers, texts, signs and ends of lines; 64 KiB of ordinary source have 20,000. For each, CPython's
parser takes up to 2.2 KB while it looks for the words of a syntax error.
"""
KEPT_TOKEN = 450
KEPT_BYTE = 4
"""Bytes that a compiled program takes, at most, for each token (150 in ordinary source), and for each byte of
its source, which may be one text.
"""
IR_PARTS_PER_TOKEN = 8
IR_PARTS_FREE = 256
"""Parts of the IR, written out as a tree, that a source may have for each of its tokens, and beyond: what is
paid by the token must not be multiplied by the lowering. Each token makes 4 of the densest source, 2 of an
ordinary one.
"""
BRACKET_DEPTH_MAX = 32
INDENT_DEPTH_MAX = 16
SEGMENT_OPERATORS_MAX = 200
ELIF_MAX = 64
LITERAL_DIGITS_MAX = 1_240
AST_DEPTH_MAX = 60
NAME_LENGTH_MAX = 64
LIBRARIES_MAX = 8
"""Libraries that a contract names; with them it has at most `SOURCE_TOKENS_MAX` tokens."""
CONSTANT_GAS = 100_000
"""Gas for evaluating the module-level constants of one contract."""
INLINE_BYTES_MAX = 72
"""Encoded bytes of a constant that is repeated where it is used: an int, a hash, a short text."""
CONSTANT_ALLOCATION_MAX = 2 * 1024 * 1024
"""Bytes of the module-level constants of one contract and its libraries, which every node keeps while it is
in force.
"""

# --- values ----------------------------------------------------------------------------------------------
INT_MAX = 2**INT_BITS_MAX - 1
TEXT_MAX = 65_536
"""Characters of a str, bytes of a bytes."""
ELEMENTS_MAX = 10_000
NESTING_MAX = VALUE_DEPTH_MAX
KEY_INT_BOUND = INT_KEY_BOUND
"""Int keys of a dict lie in 0..2^60-1, below the modulus of CPython's int hash: no two have one hash."""
DIGITS_MAX = 1_240
"""Decimal digits that `int(text)` reads: 2^4096 has 1,234."""

# --- a call ----------------------------------------------------------------------------------------------
CALL_DEPTH_MAX = 64
STACK_MAX = 3_000
"""Interpreter frames a transaction may nest; each function's share is fixed when it is compiled."""
RECURSION_LIMIT = 6_000
"""Host frames: `STACK_MAX`, plus traversals, plus our callers. Not higher: C code recurses under it too."""
CONTRACT_DEPTH_MAX = 8
ALLOCATION_MAX = 8 * 1024 * 1024
WRITTEN_BYTES_MAX = 128 * 1024
COPY_BYTES_MAX = 128 * 1024
"""Encoded bytes of one value that crosses from a contract to another; of a module-level constant."""
KEY_BYTES_MAX = 1_024
"""Encoded bytes of a Map's key."""
EVENTS_MAX = 1_024
EVENT_SUBJECTS_MAX = 16
FOREIGN_EVENTS_MAX = 32
"""Events of one transaction in the history of a subject that their contracts do not speak for: a policy,
asked for each of a job's eight inputs, may tell the job four times."""
DEFAULT_GAS = 1_000_000

# --- gas -------------------------------------------------------------------------------------------------
GAS_TRANSACTION = 600
"""Finding the sender's organisation, whether it asks several keys for its acts, and the contract's code; the
ledger's receipt and rows.
"""
GAS_ARGS_BYTES = 4
"""Bytes of arguments for one gas: 5 ns each in the ledger, and a block's bytes have a bound of their own."""
GAS_NODE = 1
GAS_OPERATOR = 2
GAS_BRANCH = 1
GAS_LOOP = 2
GAS_CALL = 20
GAS_BUILTIN = 5
GAS_METHOD = 10
GAS_DISPLAY = 3
GAS_DICT = 5
GAS_MERGE = 5
"""Copying a dict or putting it into another one, beyond its entries."""
GAS_DELETE = 1
"""Closing up the places of a dict's deleted keys, for each deletion."""
GAS_ITEMS = 5
"""Making or collecting a list, beyond its items."""
GAS_SLICE = 10
GAS_FORMAT = 8
GAS_FORMAT_PART = 4
GAS_UNPACK = 3
GAS_UNPACK_PART = 2
GAS_COMPREHENSION = 5
"""A turn of a comprehension, beyond a turn of a loop."""
GAS_DATE = 30
"""Computing with the calendar, beyond a call of a method."""
GAS_LAZY = 2
"""An item that `enumerate` or `zip` makes, for each that is nested."""
GAS_EQUAL = 12
GAS_EQUAL_ITEM = 5
GAS_ITEM_TEST = 4
"""One item that is compared by value in a search through a list."""
GAS_TYPES = 6
"""Checking a container against its hint, beyond its items."""
GAS_WALK = 16
GAS_WALK_TUPLE = 32
GAS_WALK_ITEM = 4
GAS_WALK_ENTRY = 6
"""Encoding a container, and each of its items; an entry of a dict costs both."""
GAS_WALK_BIG = 12
"""Encoding an int of more than 63 bits."""
GAS_STATE_READ = 100
"""The row may lie outside the store's caches: about 20 µs."""
GAS_STATE_WRITE = 300
"""One path of the state tree is hashed and stored anew: about 20 µs, at the pace of the median operation."""
GAS_WRITE_BYTES = 2
"""Bytes of key and value that are written for one gas: 8 ns each in the ledger, which keeps them for good."""
GAS_ORDER_STEP = 8
"""Finding a key's place in one node of the index of an ordered Map, beyond reading the node."""
NODE_KEYS_MAX = 32
"""Keys in one node of that index: a store writes one node, of some 500 bytes with short keys."""
PAGE_MAX = 1_000
"""Keys that one page of an ordered Map has."""
GAS_EVENT = 100
GAS_EVENT_BYTES = 4
"""Bytes of an event for one gas."""
GAS_SUBJECT = 250
"""An entry of the log of one subject, which is a row of the state."""
GAS_SUBJECT_ITEM = 12
"""An item of a list that may name subjects: compared with those of the event, at most 16."""
GAS_ALTERNATIVE = 2
"""Trying one alternative of a hint that is more than a look at the type."""
GAS_HINT_SUBJECT = 8
"""Reading one text as a subject."""
GAS_DECODE = 8
GAS_DECODE_TUPLE = 20
"""Making a container from bytes, beyond 1 an item, 2 an entry, and 1 per 32 bytes read."""
GAS_REMOTE = 90
"""Finding another contract's code; copies of arguments and result are paid as copies."""
GAS_HASH = 20
GAS_SIGNATURE = 1_500
"""One Ed25519 verification is about 55 µs."""
GAS_MERKLE_STEP = 25
GAS_COMPILE = 3_000
GAS_COMPILE_BYTE = 10
GAS_COMPILE_TOKEN = 150
"""Parsing, checking, lowering and building what one token stands for: up to 11 µs."""

# --- allocation, in bytes of the 8 MiB -------------------------------------------------------------------
# What CPython 3.11 takes, with its allocator's rounding. Two things take more than they are booked with: a
# single wide character (88 bytes as an item), and a wide text whose UTF-8 CPython keeps once it was encoded
# (twice). So 8 MiB stand for at most 20 MB.
MEM_CONTAINER = 64
MEM_DICT = 160
MEM_ITEM = 40
"""A place in a list or tuple, and the small number in it."""
MEM_ENTRY = 110
MEM_TEXT = 50
MEM_WIDE = 4
"""Bytes of each character of a text that is not all ASCII."""
MEM_NUMBER = 32
"""An int beyond 62 bits, and a byte for every 7 bits."""
MEM_TUPLE = 56
MEM_TUPLE_ITEM = 8
"""A tuple that `zip`, `enumerate` or `d.items()` makes; its numbers are booked with `MEM_NUMBER`."""
