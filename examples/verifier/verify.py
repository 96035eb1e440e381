"""Verifies an audit package of Assent, written from docs/audit-package.md; it shares no code with Assent.

    python verify.py FILE CHAIN_ID          (64 hex digits, which genesis.json has as chain_id)

Prints one JSON object; ends with 0 valid, 65 invalid, 74 unreadable, 6 foreign. Needs PyNaCl.
"""

import json
import re
import sys
from hashlib import sha256
from itertools import product
from pathlib import Path

from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey

MAGIC, BYTES_MAX = b"assent audit package 2\n", 1 << 30
TABLES = json.loads((Path(__file__).resolve().parents[2] / "docs" / "audit-package.json").read_bytes())
KINDS = {int(kind, 16): (name, tag, fields) for kind, (name, tag, fields) in TABLES["kinds"].items()}
EVENTS_MAX, STATES_MAX, KEPT_MAX, RUN_MAX, DISPUTES_MAX = 65_536, 32_768, 67_108_864, 64, 1_024
ENDS = {"valid": 0, "invalid": 65, "unreadable": 74, "foreign": 6}
PLAIN = {0xC0: None, 0xC2: False, 0xC3: True}
LONG = {0xC4: "bin", 0xC7: "ext", 0xD9: "text", 0xDC: "array", 0xDE: "map"}
"""First code of a kind of value whose size follows: in 1, 2, 4 bytes, or of the last two in 2 or 4."""


class Bad(Exception):
    """The verdict, and why."""


def need(holds, why, verdict="invalid"):
    if not holds:
        raise Bad(verdict, why)


def h(domain, *parts):
    return sha256(b"".join([domain.encode(), b"\0", *parts])).digest()


def u64(number):
    return number.to_bytes(8, "big")


def sized(first, short, limit, size):
    if size < limit:
        return bytes([short | size])
    power = next(power for power in range(first == 0xDB, 3) if size >> (8 << power) == 0)
    return bytes([first + power]) + size.to_bytes(1 << power, "big")


def encode(value):
    """Return the bytes of a record, or of a value that is the key of a state (a tuple is extension 1)."""
    if value is None or type(value) is bool:
        return {None: b"\xc0", False: b"\xc2", True: b"\xc3"}[value]
    if type(value) is int:
        if -32 <= value < 128:
            return bytes([value & 255])
        for power in range(4):
            if -(128 << (8 << power) - 8) <= value < 256 << (8 << power) - 8:
                return bytes([(0xCC, 0xD0)[value < 0] + power]) + value.to_bytes(
                    1 << power, "big", signed=value < 0
                )
        return extension(2, value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True))
    if type(value) is bytes:
        return sized(0xC4, 0, 0, len(value)) + value
    if type(value) is str:
        return sized(0xD9, 0xA0, 32, len(value.encode())) + value.encode()
    body = sized(0xDB, 0x90, 16, len(value)) + b"".join([encode(item) for item in value])
    return extension(1, body) if type(value) is tuple else body


def extension(tag, body):
    short = {1: 0xD4, 2: 0xD5, 4: 0xD6, 8: 0xD7, 16: 0xD8}.get(len(body))
    return (bytes([short]) if short else sized(0xC7, 0, 0, len(body))) + bytes([tag]) + body


def unpack(raw, at=0):
    """Return a value and where it ends; too few bytes end as an IndexError, or as an end beyond them."""
    code, at, tag = raw[at], at + 1, 0
    if code < 0x80 or code >= 0xE0:
        return code - 256 * (code >= 0xE0), at
    if code in PLAIN:
        return PLAIN[code], at
    if 0xCC <= code <= 0xD3:
        end = at + (1 << (code & 3))
        return int.from_bytes(raw[at:end], "big", signed=code >= 0xD0), end
    kind, size = ("map" if code < 0x90 else "array", code & 15) if code < 0xA0 else ("text", code & 31)
    if 0xD4 <= code <= 0xD8:
        kind, size = "ext", 1 << (code - 0xD4)
    elif code >= 0xC0:
        first = max(one for one in LONG if one <= code)
        kind, width = LONG[first], 1 << (code - first + (first >= 0xDC))
        size, at = int.from_bytes(raw[at : at + width], "big"), at + width
    if kind in ("array", "map"):
        items = []
        for _ in range(size if kind == "array" else 2 * size):
            item, at = unpack(raw, at)
            items.append(item)
        return (items if kind == "array" else dict(zip(items[::2], items[1::2], strict=True))), at
    if kind == "ext":
        tag, at = raw[at], at + 1
    body, at = raw[at : at + size], at + size
    if kind == "ext":
        return (tuple(unpack(body)[0]) if tag == 1 else int.from_bytes(body, "big", signed=True)), at
    return (body.decode() if kind == "text" else body), at


def inner(found, tag, fields):
    need(type(found) is list and found[:1] == [tag] and len(found) == fields + 1, f"{tag}: another record")
    return found[1:]


def record(raw, tag, fields):
    found, end = unpack(raw)
    need(end == len(raw) and encode(found) == raw, f"{tag}: not the canonical encoding")
    return inner(found, tag, fields)


def signed(key, message, signature):
    try:
        VerifyKey(key).verify(message, signature)
    except (BadSignatureError, ValueError, TypeError):
        raise Bad("invalid", "a signature does not hold") from None


def check_quorum(signatures, keys):
    """Check (key, message, signature) of a quorum of these keys."""
    signers = [key for key, _, _ in signatures]
    need(signers == sorted(set(signers)) and set(signers) <= set(keys), "signers: not distinct, or strangers")
    need(len(signers) == (len(keys) + (len(keys) - 1) // 3) // 2 + 1, "signatures: not a quorum")
    for key, message, signature in signatures:
        signed(key, message, signature)


def check_path(root, leaf, index, count, path):
    node, rest, width = h("assent/merkle-leaf", leaf), list(path), count
    need(0 <= index < count and len(rest) <= 40, "a path of another shape")
    while width > 1:
        if index ^ 1 < width:
            need(rest, "a path that is too short")
            pair = (rest.pop(0), node) if index & 1 else (node, rest.pop(0))
            node = h("assent/merkle-node", *pair)
        index, width = index // 2, (width + 1) // 2
    need(node == root and not rest, "a path that leads elsewhere")


def check_state(root, namespace, key, value, levels, bucket):
    place = h("assent/state-key", bytes([len(namespace.encode())]), namespace.encode(), key)
    keys, current = [pair[0] for pair in bucket], None
    need(len(levels) <= 64 and len(keys) <= 32, "a proof that is too long")
    if bucket:
        need(len(levels) % 2 == 0 and keys == sorted(set(keys)), "a bucket out of order")
        need(all(one.startswith(place[: len(levels) // 2]) for one in keys), "a bucket of another place")
        values = [pair[1] for pair in bucket]
        current = h("assent/state-bucket", bytes([len(keys)]), h("assent/state-keys", *keys), *values)
    for depth in range(len(levels) - 1, -1, -1):
        mask, hashes = levels[depth]
        half = place[depth // 2] >> (0 if depth % 2 else 4) & 15
        need(bool(mask >> half & 1) == (current is not None), "a level without the path")
        at = bin(mask & ((1 << half) - 1)).count("1")
        children = hashes if current is None else [*hashes[:at], current, *hashes[at:]]
        need(bin(mask).count("1") == len(children), "a level of another size")
        current = h("assent/state-node", mask.to_bytes(2, "big"), *children)
    need((current or bytes(32)) == root, "a proof that leads elsewhere")
    there = dict([tuple(pair) for pair in bucket]).get(place)
    need(there == (None if value is None else h("assent/state-value", value)), "another value")


class Package:
    def __init__(self, raw, chain_id):
        need(raw.startswith(MAGIC) and len(MAGIC) + 32 < len(raw) <= BYTES_MAX, "not a package", "unreadable")
        need(sha256(raw[:-32]).digest() == raw[-32:], "damaged", "unreadable")
        self.raw, self.at, self.end, self.chain_id = raw, len(MAGIC), len(raw) - 32, chain_id
        self.content = sha256(b"assent/audit-content\0")
        self.headers, self.used, self.skips, self.states, self.events = {}, set(), set(), {}, []
        self.callers, self.lone, self.contracts, self.ids, self.lowest = {}, set(), {}, set(), None
        self.place, self.kept, self.certified, self.log = (-1,), 0, -1, (0, bytes(32))

    def next(self):
        return KINDS.get(self.raw[self.at], ("",))[0] if self.at < self.end else None

    def take(self, *names):
        kind = self.raw[self.at] if self.at < self.end else 0
        need(kind in KINDS and KINDS[kind][0] in names, "records out of order")
        size = int.from_bytes(self.raw[self.at + 1 : self.at + 5], "big")
        body = self.raw[self.at + 5 : self.at + 5 + size]
        need(self.at + 5 + size <= self.end, "a record past the end")
        if kind < 0x80:
            self.content.update(self.raw[self.at : self.at + 5 + size])
        self.at += 5 + size
        self.body = body
        return record(body, *KINDS[kind][1:])

    def read(self):
        version, chain_id, self.subject, self.first, self.last = self.take("head")
        need(version == 2, "another version")
        need(chain_id == self.chain_id, "another chain", "foreign")
        need(self.first <= self.last and self.first != 1, "not a range")
        genesis = self.take("genesis")
        need(h("assent/genesis", self.body) == self.chain_id, "another genesis")
        self.sources = {h("assent/source", source.encode()) for _, _, source in genesis[4]}
        self.window, self.sets = genesis[7][8], [(0, [one[3] for one in genesis[2]])]
        while self.next() == "validators":
            self.take_set(self.take("validators"))
        statements = []
        while self.next() == "statement":
            node, height, header_hash, time, signature = self.take("statement")
            message = h("assent/head", chain_id, u64(height), header_hash, u64(time))
            statements.append((node, message, signature))
        while self.next() == "header":
            self.take_run()
        while self.next() is not None:
            self.take_one()
            need(self.kept <= KEPT_MAX and len(self.ids) <= 2 * EVENTS_MAX, "too much")
            need(len(self.states) <= STATES_MAX and len(self.events) <= EVENTS_MAX, "too many")
        need(self.sets[-1][0] <= self.certified + self.window, "a set that nothing needs")
        need(self.used == set(self.headers), "a header that nothing needs")
        need(self.skips == {one[0] for one in self.headers.values() if one[11]}, "a skip is missing")
        if statements:
            check_quorum(statements, self.keys_at(self.last))
        self.close()

    def keys_at(self, height):
        return [keys for first, keys in self.sets if first <= height][-1]

    def check_chain(self, headers, hashes, certificate):
        for below, parent, header in zip(headers, hashes, headers[1:], strict=False):
            need(header[0] == below[0] + 1 and header[1] == parent, "headers that do not follow")
        height, header_hash, signatures = certificate
        need((height, header_hash) == (headers[-1][0], hashes[-1]), "a certificate of another header")
        message = h("assent/checkpoint", self.chain_id, u64(height), hashes[-1])
        check_quorum([(key, message, one) for key, one in signatures], self.keys_at(height))

    def take_set(self, item):
        change, nodes, proof = item
        first, keys, proved = inner(change, "set-change", 3)
        found, certificate = inner(proved, "header-proof", 2)
        headers = [inner(one, "header", 12) for one in found]
        need(self.sets[-1][0] < first == headers[0][0] + self.window, "a set out of order")
        need(len(headers) <= RUN_MAX and headers[-1][0] < first, "a set certified too late")
        hashes = [h("assent/header", encode(one)) for one in found]
        self.check_chain(headers, hashes, inner(certificate, "certificate", 3))
        need(headers[0][9] == h("assent/validators", *keys), "a header that names another set")
        key = b"validators/\xc4\x08" + u64(first)
        check_state(headers[0][7], "schedule", key, nodes, *inner(proof, "state-proof", 2))
        named = [inner(one, "validator", 4)[2] for one in record(nodes, "validator-set", 1)[0]]
        need(named == keys, "nodes of other keys")
        self.sets.append((first, keys))

    def take_run(self):
        headers, hashes, shown = [], [], []
        while self.next() in ("header", "link"):
            own = self.next() == "header"
            header = self.take("header", "link")
            headers, hashes = [*headers, header], [*hashes, h("assent/header", self.body)]
            shown += [header] if own else []
            need(len(headers) <= RUN_MAX, "a run that is too long")
        self.check_chain(headers, hashes, self.take("certificate"))
        need(headers[0][0] > self.certified, "headers out of order")
        for header in headers:
            named = h("assent/validators", *self.keys_at(header[0] + self.window))
            need(header[9] == named, "a header that names a set that is not there")
        self.certified = headers[-1][0]
        self.headers |= {header[0]: header for header in shown}

    def step(self, height, *place):
        need((height, *place) > self.place, "records out of order")
        self.place = (height, *place)
        need(height in self.headers, "a record without its header")
        self.used.add(height)
        return self.headers[height]

    def take_one(self):
        kind = self.next()
        if kind == "entry":
            entry = self.take("entry")
            need(entry[0] == 0 == self.first and self.place < (0, 1), "an entry out of order")
            self.place = (0, 0)
            self.add(entry)
        elif kind == "transaction":
            self.take_transaction()
        elif kind == "skip":
            skip, digest = self.take("skip"), h("assent/skip-decision", self.chain_id, self.body)
            (signatures,), header = self.take("skip signed"), self.step(skip[0], 2)
            need(header[11] == digest, "a skip that no header names")
            self.skips.add(skip[0])
            check_quorum([(key, digest, one) for key, one in signatures], self.keys_at(skip[0]))
        else:
            height, namespace, key, value = self.take("state")
            header, proof = self.step(height, 3, namespace.encode(), key), self.take("state proved")
            check_state(header[7], namespace, key, value, *proof)
            self.states[height, namespace, key] = value
            self.kept += len(key) + len(value or b"")
            if (namespace, key) == ("subjects", self.subject.encode()):
                log = (0, bytes(32)) if value is None else tuple(unpack(value)[0])
                need(height != self.last or log == self.log, "events are missing, added or changed")
                self.log = log if height == self.first - 1 else self.log

    def add(self, entry):
        event = inner(entry[3], "event", 4)
        need(self.subject in event[3], "an entry of another subject")
        self.events.append((f"{event[0]}.{event[1]}", unpack(event[2])[0], event[3]))
        self.contracts[event[0]] = None
        raw = encode(["entry", *entry])
        count, rolling = self.log
        self.log = count + 1, h("assent/subject", rolling, h("assent/entry", raw), u64(entry[0]))
        self.kept += len(event[2]) + sum(len(one) for one in event[3])

    def take_transaction(self):
        height, index, found = self.take("transaction")
        signature, count, path = self.take("ordered")
        receipt, raw = self.take("receipt"), self.body
        same, receipt_path = self.take("executed")
        header, body = self.step(height, 1, index), inner(found, "tx-body", 8)
        tx_id = h("assent/tx", encode(found))
        need(body[0] == self.chain_id, "a transaction of another chain")
        signed(body[1], tx_id, signature)
        check_path(header[6], tx_id, index, count, path)
        need(receipt[:3] == [tx_id, height, index] and same == count, "a receipt of another transaction")
        check_path(header[8], raw, index, count, receipt_path)
        self.callers[body[1]] = self.contracts[body[2]] = None
        self.ids.add(tx_id)
        self.lowest = height if self.lowest is None else self.lowest
        before = len(self.events)
        for place, event in enumerate(receipt[7] if self.first <= height <= self.last else []):
            if self.subject in inner(event, "event", 4)[3]:
                self.add([height, tx_id, place, event])
        if len(self.events) == before:
            self.lone.add(tx_id)

    def close(self):
        need(set(self.states) == set(self.belongs()), "a state is missing, or nothing names it")
        seen = [fields for name, fields, _ in self.events if name == "orgs.ActSeen"]
        named = {item["tx"] for fields in seen if fields["done"] is True for item in fields["seen"]}
        need(self.lone <= named <= self.ids, "a transaction is missing, or nothing names it")

    def value(self, target, key, height=None):
        raw = self.states.get(self.where(target, key, height))
        return None if raw is None else unpack(raw)[0]

    def where(self, target, key, height=None):
        contract, name = target.split(".")
        state_key = name.encode() if target in TABLES["variables"] else name.encode() + b"/" + encode(key)
        return self.last if height is None else height, contract, state_key

    def belongs(self):
        yield from [(at, "subjects", self.subject.encode()) for at in {self.first - 1, self.last} - {-1}]
        yield from [self.where("orgs.keys", sender.hex()) for sender in self.callers]
        grants, contracts, columns = set(), self.contracts, {}
        for subject in {self.subject}.union(*[subjects for _, _, subjects in self.events]):
            kind, _, ident = subject.partition(":")
            for target, key in by_subject(kind, ident):
                yield self.where(target, key)
                if target == "jobs.jobs" and type(job := self.value(target, key)) is dict:
                    for number in range(1, min(job["disputes"], DISPUTES_MAX) + 1):
                        yield self.where("jobs.disputes", (job["id"], number))
            grants |= {ident} if kind == "grant" else set()
            contracts |= {ident: None} if kind == "contract" else {}
        for name, fields, _ in self.events:
            for target, parts in TABLES["events"].get(name, []):
                for key in product(*[part_of(part, fields) for part in parts]):
                    yield self.where(target, key[0] if len(parts) == 1 else key)
                    grants |= {key[0]} if target == "grants.grants" else set()
            for version, names in versions(name, fields):
                if not self.subject.startswith("dataset:") or self.subject == f"dataset:{version[0]}":
                    whole = names is None or self.subject.startswith("dataset:")
                    columns.setdefault((version, None if whole else tuple(names)))
        for version, names in columns:
            yield from self.declared(version, names)
        for grant in grants:
            row = self.value("grants.grants", grant)
            if type(row) is dict and type(row.get("policy")) is str:
                contracts |= {row["policy"]: None}
        yield from self.sources_of([name for name in contracts if 0 < len(name) <= 64])

    def declared(self, version, names):
        yield self.where("datasets.versions", version)
        row = self.value("datasets.versions", version)
        if type(row) is dict:
            owner, seal = version[0].partition("/")[0], row["schema"]
            yield self.where("datasets.schemas", (owner, seal))
            schema = self.value("datasets.schemas", (owner, seal))
            count = schema["parts"] if schema and names is None else 0
            parts = [(owner, seal, part) for part in range(count)]
            yield from [self.where("datasets.parts", part) for part in parts]
            found = [name for part in parts for name in self.value("datasets.parts", part) or []]
            for name in found if names is None else names:
                yield self.where("datasets.columns", (owner, seal, name))

    def sources_of(self, names):
        lowest, sources = self.last if self.lowest is None else self.lowest, {}
        pending = [(name, lowest, self.last) for name in names]
        while pending:
            name, low, high = pending.pop()
            numbers = []
            for height in (low, high):
                yield self.where("lifecycle.active", name, height)
                row = self.value("lifecycle.active", name, height)
                both = [one for one in (row, row and row.get("next")) if type(one) is dict]
                numbers.append([one.get("seq") for one in both])
                for one in both:
                    for source in [one.get("source_hash"), *(one.get("libraries") or {}).values()]:
                        sources[source] = min(height, sources.get(source, height))
            if numbers[0] != numbers[1] and high - low > 1:
                middle = (low + high) // 2
                pending += [(name, low, middle), (name, middle, high)]
        for source in set(sources) - self.sources:
            if type(source) is bytes and len(source) == 32:
                yield self.where("lifecycle.sources", source, sources[source])


def by_subject(kind, ident):
    key = ident
    if kind in ("library", "proposal"):
        form = "[0-9a-f]{64}" if kind == "library" else "[1-9][0-9]{0,15}"
        if not re.fullmatch(form, ident):
            return []
        key = bytes.fromhex(ident) if kind == "library" else int(ident)
    return [(target, key) for target in TABLES["subjects"].get(kind, [])]


def part_of(part, fields):
    if part.startswith(":"):
        return [one.partition(":")[2] for one in part_of(part[1:], fields) if ":" in str(one)]
    if "/" in part:
        return [f"{fields['key'].hex()}/{fields['kind']}"]
    if "[]" in part:
        name, _, field = part.partition("[]")
        found = [item.get(field[1:]) if field else item for item in fields.get(name) or []]
    else:
        name, _, field = part.partition(".")
        found = [(fields.get(name) or {}).get(field) if field else fields.get(name)]
    return [one for one in found if type(one) is int or (type(one) in (str, bytes) and one)]


def versions(name, fields):
    if name in ("datasets.DatasetRegistered", "datasets.DatasetVersioned", "grants.GrantRequested"):
        dataset = fields["dataset"].partition(":")[2]
        return [((dataset, fields["version"]), fields["columns"] if name.startswith("grants") else None)]
    inputs = fields["inputs"] if name == "jobs.JobProposed" else []
    return [((item["dataset"], item["version"]), item["columns"]) for item in inputs]


def verify(raw, chain_id):
    """Return (verdict, what is wrong, the package if valid); a form that breaks this code is invalid, too."""
    try:
        package = Package(raw, chain_id)
        package.read()
    except Bad as bad:
        return bad.args[0], bad.args[1], None
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as odd:
        return "invalid", f"a record of another form ({odd!r})"[:200], None
    return "valid", "", package


def main(file, chain_id):
    with open(file, "rb") as opened:
        verdict, why, package = verify(opened.read(BYTES_MAX + 1), bytes.fromhex(chain_id))
    said = {"verdict": verdict, "why": why}
    if package:
        said |= {"subject": package.subject, "from": package.first, "to": package.last}
        said |= {"events": len(package.events), "content": package.content.hexdigest()}
    print(json.dumps(said))
    return ENDS[verdict]


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
