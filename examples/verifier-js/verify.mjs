// Verifies audit packages of Assent with node alone, written from docs/audit-package.md; it shares no code with Assent.
//
//     node verify.mjs FILE CHAIN_ID [FILE CHAIN_ID …]
//
// Prints one line of JSON a file. Ends with 0 valid, 65 invalid, 74 unreadable, 6 foreign, of the last file.

import { createHash, createPublicKey, verify as verifySignature } from "node:crypto";
import { readFileSync } from "node:fs";

const MAGIC = Buffer.from("assent audit package 2\n");
const TABLES = JSON.parse(readFileSync(new URL("../../docs/audit-package.json", import.meta.url)));
const BYTES_MAX = 2 ** 30, EVENTS_MAX = 65536, STATES_MAX = 32768, KEPT_MAX = 67108864, RUN_MAX = 64, DISPUTES_MAX = 1024;
const ENDS = { valid: 0, invalid: 65, unreadable: 74, foreign: 6 };
const ED25519 = Buffer.from("302a300506032b6570032100", "hex");

class Bad extends Error {
  constructor(why, verdict = "invalid") {
    super(why);
    this.verdict = verdict;
  }
}

class Tuple extends Array {}

function need(holds, why, verdict) {
  if (!holds) throw new Bad(why, verdict);
}

// --- bytes

const sha256 = (...parts) => parts.reduce((hash, part) => hash.update(part), createHash("sha256")).digest();
const h = (domain, ...parts) => sha256(domain + "\0", ...parts);
const same = (a, b) => Buffer.isBuffer(a) && Buffer.isBuffer(b) && a.equals(b);

function bytesOf(number, width) {
  const raw = Buffer.alloc(8);
  raw.writeBigUInt64BE(BigInt.asUintN(64, BigInt(number)));
  return raw.subarray(8 - width);
}

const u64 = (number) => bytesOf(number, 8);

function sized(first, short, limit, size) {
  if (size < limit) return Buffer.from([short | size]);
  const powers = first === 0xdb ? [1, 2] : [0, 1, 2];
  const power = powers.find((one) => size < 2 ** (8 << one));
  return Buffer.concat([Buffer.from([first + power]), bytesOf(size, 1 << power)]);
}

// Records, and values that are keys of states: a Tuple is extension 1, another array an array.
function encode(value) {
  if (value === null) return Buffer.from([0xc0]);
  if (typeof value === "boolean") return Buffer.from([value ? 0xc3 : 0xc2]);
  if (typeof value === "number" || typeof value === "bigint") return encodeNumber(BigInt(value));
  if (Buffer.isBuffer(value)) return Buffer.concat([sized(0xc4, 0, 0, value.length), value]);
  if (typeof value === "string") {
    const raw = Buffer.from(value, "utf8");
    return Buffer.concat([sized(0xd9, 0xa0, 32, raw.length), raw]);
  }
  const body = Buffer.concat([sized(0xdb, 0x90, 16, value.length), ...Array.from(value, encode)]);
  return value instanceof Tuple ? extension(1, body) : body;
}

function encodeNumber(value) {
  if (value >= -32n && value < 128n) return Buffer.from([Number(value) & 255]);
  for (let power = 0; power < 4; power++) {
    const most = 1n << BigInt(8 << power);
    if (value >= -most / 2n && value < most) {
      return Buffer.concat([Buffer.from([(value < 0n ? 0xd0 : 0xcc) + power]), bytesOf(value, 1 << power)]);
    }
  }
  throw new Bad("a number that no key is");
}

function extension(tag, body) {
  const short = { 1: 0xd4, 2: 0xd5, 4: 0xd6, 8: 0xd7, 16: 0xd8 }[body.length];
  const head = short ? Buffer.from([short]) : sized(0xc7, 0, 0, body.length);
  return Buffer.concat([head, Buffer.from([tag]), body]);
}

const UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const LONG = [[0xde, "map"], [0xdc, "array"], [0xd9, "text"], [0xc7, "ext"], [0xc4, "bin"]];

class Unpacker {
  constructor(raw) {
    this.raw = raw;
    this.at = 0;
  }

  piece(size) {
    need(this.at + size <= this.raw.length, "not msgpack");
    this.at += size;
    return this.raw.subarray(this.at - size, this.at);
  }

  number(width, signed) {
    const raw = this.piece(width);
    let value = raw.reduce((all, byte) => all * 256n + BigInt(byte), 0n);
    if (signed) value = BigInt.asIntN(8 * width, value);
    return Number.isSafeInteger(Number(value)) ? Number(value) : value;
  }

  item(depth = 0) {
    need(depth < 200, "not msgpack");
    const code = this.piece(1)[0];
    if (code < 0x80 || code >= 0xe0) return code < 0x80 ? code : code - 256;
    if (code === 0xc0) return null;
    if (code === 0xc2 || code === 0xc3) return code === 0xc3;
    need(code !== 0xc1, "not msgpack");
    if (code === 0xca || code === 0xcb) throw new Bad("a number with a fraction");
    if (code >= 0xcc && code <= 0xd3) return this.number(1 << (code & 3), code >= 0xd0);
    let kind = code < 0x90 ? "map" : code < 0xa0 ? "array" : "text";
    let size = code < 0xa0 ? code & 15 : code & 31;
    if (code >= 0xd4 && code <= 0xd8) [kind, size] = ["ext", 1 << (code - 0xd4)];
    else if (code >= 0xc0) {
      const [first, found] = LONG.find(([one]) => one <= code);
      kind = found;
      size = this.number(1 << (code - first + (first >= 0xdc ? 1 : 0)));
    }
    return this.sizedItem(kind, size, depth);
  }

  sizedItem(kind, size, depth) {
    if (kind === "array") {
      const items = [];
      for (let n = 0; n < size; n++) items.push(this.item(depth + 1));
      return items;
    }
    if (kind === "map") {
      const found = new Map();
      for (let n = 0; n < size; n++) {
        const key = this.item(depth + 1);
        found.set(key, this.item(depth + 1));
      }
      return found;
    }
    const tag = kind === "ext" ? this.piece(1)[0] : 0;
    const body = this.piece(size);
    if (kind === "text") return UTF8.decode(body);
    if (kind === "ext") return tag === 1 ? Tuple.from(new Unpacker(body).item(depth + 1)) : body.toString("hex");
    return body;
  }
}

const valueOf = (raw) => (raw === null || raw === undefined ? null : new Unpacker(raw).item());

function inner(found, tag, fields) {
  need(Array.isArray(found) && found[0] === tag && found.length === fields + 1, `${tag}: another record`);
  return found.slice(1);
}

function record(raw, tag, fields) {
  const reader = new Unpacker(raw);
  const found = reader.item();
  need(reader.at === raw.length && encode(found).equals(raw), `${tag}: not the canonical encoding`);
  return inner(found, tag, fields);
}

// --- proofs

function checkSigned(key, message, signature) {
  need(Buffer.isBuffer(key) && key.length === 32 && Buffer.isBuffer(signature) && signature.length === 64, "a signature of another size");
  const der = { key: Buffer.concat([ED25519, key]), format: "der", type: "spki" };
  let holds = false;
  try {
    holds = verifySignature(null, message, createPublicKey(der), signature);
  } catch {
    holds = false;
  }
  need(holds, "a signature does not hold");
}

// Check [key, message, signature] of a quorum of these keys.
function checkQuorum(signatures, keys) {
  const known = new Set(keys.map((key) => key.toString("hex")));
  signatures.forEach(([key], at) => {
    need(known.has(key.toString("hex")), "a signer that is a stranger");
    need(at === 0 || Buffer.compare(signatures[at - 1][0], key) < 0, "signers: not distinct, or out of order");
  });
  need(signatures.length === Math.floor((keys.length + Math.floor((keys.length - 1) / 3)) / 2) + 1, "not a quorum");
  for (const [key, message, signature] of signatures) checkSigned(key, message, signature);
}

function checkPath(root, leaf, index, count, path) {
  const rest = [...path];
  let node = h("assent/merkle-leaf", leaf), width = BigInt(count), at = BigInt(index);
  need(at >= 0n && at < width && rest.length <= 40, "a path of another shape");
  while (width > 1n) {
    if ((at ^ 1n) < width) {
      need(rest.length > 0, "a path that is too short");
      const sibling = rest.shift();
      node = at & 1n ? h("assent/merkle-node", sibling, node) : h("assent/merkle-node", node, sibling);
    }
    at >>= 1n;
    width = (width + 1n) >> 1n;
  }
  need(same(node, root) && rest.length === 0, "a path that leads elsewhere");
}

const bits = (mask) => mask.toString(2).replaceAll("0", "").length;

function checkState(root, namespace, key, value, levels, bucket) {
  const name = Buffer.from(namespace);
  const place = h("assent/state-key", Buffer.from([name.length]), name, key);
  const keys = bucket.map((pair) => pair[0]);
  let current = null;
  need(levels.length <= 64 && keys.length <= 32, "a proof that is too long");
  if (keys.length) {
    const above = place.subarray(0, levels.length / 2);
    need(levels.length % 2 === 0, "a bucket between two bytes");
    keys.forEach((one, at) => {
      need(at === 0 || Buffer.compare(keys[at - 1], one) < 0, "a bucket out of order");
      need(one.length === 32 && same(one.subarray(0, above.length), above), "a bucket of another place");
    });
    const values = bucket.map((pair) => pair[1]);
    current = h("assent/state-bucket", Buffer.from([keys.length]), h("assent/state-keys", ...keys), ...values);
  }
  for (let depth = levels.length - 1; depth >= 0; depth--) {
    const [mask, hashes] = levels[depth];
    need(Number.isInteger(mask) && mask >= 0 && mask < 65536, "a mask that is none");
    const half = (place[depth >> 1] >> (depth % 2 ? 0 : 4)) & 15;
    need(Boolean((mask >> half) & 1) === (current !== null), "a level without the path");
    const at = bits(mask & ((1 << half) - 1));
    const children = current === null ? hashes : [...hashes.slice(0, at), current, ...hashes.slice(at)];
    need(bits(mask) === children.length, "a level of another size");
    current = h("assent/state-node", bytesOf(mask, 2), ...children);
  }
  need(same(current ?? Buffer.alloc(32), root), "a proof that leads elsewhere");
  const there = bucket.find((pair) => same(pair[0], place))?.[1] ?? null;
  need(value === null ? there === null : same(there, h("assent/state-value", value)), "another value");
}

// --- the file

class Package {
  constructor(raw, chainId) {
    const size = raw.length;
    need(size > MAGIC.length + 32 && size <= BYTES_MAX && raw.subarray(0, MAGIC.length).equals(MAGIC), "not a package", "unreadable");
    need(sha256(raw.subarray(0, size - 32)).equals(raw.subarray(size - 32)), "damaged", "unreadable");
    Object.assign(this, { raw, chainId, at: MAGIC.length, end: size - 32, kept: 0, certified: -1, lowest: null });
    this.content = createHash("sha256").update("assent/audit-content\0");
    Object.assign(this, { headers: new Map(), used: new Set(), skips: new Set(), states: new Map(), events: [] });
    Object.assign(this, { callers: new Set(), contracts: new Set(), ids: new Set(), lone: new Set() });
    this.place = [-1];
    this.log = [0, Buffer.alloc(32)];
  }

  next() {
    return this.at < this.end ? (TABLES.kinds[this.raw[this.at].toString(16).padStart(2, "0")] ?? [""])[0] : null;
  }

  take(...names) {
    const name = this.next();
    need(names.includes(name) && this.at + 5 <= this.end, "records out of order");
    const size = this.raw.readUInt32BE(this.at + 1), begin = this.at;
    need(begin + 5 + size <= this.end, "a record past the end");
    this.at += 5 + size;
    if (this.raw[begin] < 0x80) this.content.update(this.raw.subarray(begin, this.at));
    this.body = this.raw.subarray(begin + 5, this.at);
    const [, tag, fields] = TABLES.kinds[this.raw[begin].toString(16).padStart(2, "0")];
    return record(this.body, tag, fields);
  }

  read() {
    const [version, chainId, subject, first, last] = this.take("head");
    need(version === 2, "another version");
    need(same(chainId, this.chainId), "another chain", "foreign");
    need(first <= last && first !== 1, "not a range");
    Object.assign(this, { subject, first, last });
    const genesis = this.take("genesis");
    need(same(h("assent/genesis", this.body), chainId), "another genesis");
    this.sources = new Set(genesis[4].map((one) => h("assent/source", one[2]).toString("hex")));
    this.window = genesis[7][8];
    this.sets = [[0, genesis[2].map((one) => one[3])]];
    while (this.next() === "validators") this.takeSet(...this.take("validators"));
    const statements = [];
    while (this.next() === "statement") {
      const [node, height, hash, time, signature] = this.take("statement");
      statements.push([node, h("assent/head", chainId, u64(height), hash, u64(time)), signature]);
    }
    while (this.next() === "header") this.takeRun();
    while (this.next() !== null) {
      this.takeOne();
      need(this.kept <= KEPT_MAX && this.ids.size <= 2 * EVENTS_MAX, "too much");
      need(this.states.size <= STATES_MAX && this.events.length <= EVENTS_MAX, "too many");
    }
    need(this.sets.at(-1)[0] <= this.certified + this.window, "a set that nothing needs");
    for (const [height, header] of this.headers) {
      need(this.used.has(height), "a header that nothing needs");
      need((header[11] !== null) === this.skips.has(height), "a skip is missing");
    }
    if (statements.length) checkQuorum(statements, this.keysAt(last));
    this.close();
  }

  keysAt(height) {
    return this.sets.findLast(([first]) => first <= height)[1];
  }

  checkChain(headers, hashes, [height, hash, signatures]) {
    for (let at = 1; at < headers.length; at++) {
      need(headers[at][0] === headers[at - 1][0] + 1 && same(headers[at][1], hashes[at - 1]), "headers that do not follow");
    }
    need(height === headers.at(-1)[0] && same(hash, hashes.at(-1)), "a certificate of another header");
    const message = h("assent/checkpoint", this.chainId, u64(height), hash);
    checkQuorum(signatures.map(([key, one]) => [key, message, one]), this.keysAt(height));
  }

  takeSet(change, nodes, proof) {
    const [first, keys, proved] = inner(change, "set-change", 3);
    const [found, certificate] = inner(proved, "header-proof", 2);
    const headers = found.map((one) => inner(one, "header", 12));
    need(this.sets.at(-1)[0] < first && first === headers[0][0] + this.window, "a set out of order");
    need(headers.length <= RUN_MAX && headers.at(-1)[0] < first, "a set certified too late");
    this.checkChain(headers, found.map((one) => h("assent/header", encode(one))), inner(certificate, "certificate", 3));
    need(same(headers[0][9], h("assent/validators", ...keys)), "a header that names another set");
    const key = Buffer.concat([Buffer.from("validators/"), encode(u64(first))]);
    checkState(headers[0][7], "schedule", key, nodes, ...inner(proof, "state-proof", 2));
    const named = record(nodes, "validator-set", 1)[0].map((one) => inner(one, "validator", 4)[2]);
    need(named.length === keys.length && named.every((one, at) => same(one, keys[at])), "nodes of other keys");
    this.sets.push([first, keys]);
  }

  takeRun() {
    const headers = [], hashes = [], shown = [];
    while (["header", "link"].includes(this.next())) {
      const own = this.next() === "header", header = this.take("header", "link");
      headers.push(header);
      hashes.push(h("assent/header", this.body));
      if (own) shown.push(header);
      need(headers.length <= RUN_MAX, "a run that is too long");
    }
    this.checkChain(headers, hashes, this.take("certificate"));
    need(headers[0][0] > this.certified, "headers out of order");
    for (const header of headers) {
      const keys = this.keysAt(header[0] + this.window);
      need(same(header[9], h("assent/validators", ...keys)), "a header that names a set that is not there");
    }
    this.certified = headers.at(-1)[0];
    for (const header of shown) this.headers.set(header[0], header);
  }

  step(height, ...place) {
    need(after([height, ...place], this.place), "records out of order");
    this.place = [height, ...place];
    need(this.headers.has(height), "a record without its header");
    this.used.add(height);
    return this.headers.get(height);
  }

  takeOne() {
    const kind = this.next();
    if (kind === "entry") {
      const entry = this.take("entry");
      need(entry[0] === 0 && this.first === 0 && !after(this.place, [0, 0]), "an entry out of order");
      this.place = [0, 0];
      this.add(entry);
    } else if (kind === "transaction") this.takeTransaction();
    else if (kind === "skip") {
      const skip = this.take("skip"), digest = h("assent/skip-decision", this.chainId, this.body);
      const [signatures] = this.take("skip signed"), header = this.step(skip[0], 2);
      need(same(header[11], digest), "a skip that no header names");
      this.skips.add(skip[0]);
      checkQuorum(signatures.map(([key, one]) => [key, digest, one]), this.keysAt(skip[0]));
    } else this.takeState(...this.take("state"));
  }

  takeState(height, namespace, key, value) {
    const header = this.step(height, 3, Buffer.from(namespace), key);
    checkState(header[7], namespace, key, value, ...this.take("state proved"));
    this.states.set(`${height} ${namespace} ${key.toString("hex")}`, value);
    this.kept += key.length + (value?.length ?? 0);
    if (namespace === "subjects" && key.toString() === this.subject) {
      const log = value === null ? [0, Buffer.alloc(32)] : valueOf(value);
      const agree = log[0] === this.log[0] && same(log[1], this.log[1]);
      need(height !== this.last || agree, "events are missing, added or changed");
      if (height === this.first - 1) this.log = log;
    }
  }

  takeTransaction() {
    const [height, index, found] = this.take("transaction"), [signature, count, path] = this.take("ordered");
    const receipt = this.take("receipt"), raw = this.body, [other, receiptPath] = this.take("executed");
    const header = this.step(height, 1, index), body = inner(found, "tx-body", 8), id = h("assent/tx", encode(found));
    need(same(body[0], this.chainId), "a transaction of another chain");
    checkSigned(body[1], id, signature);
    checkPath(header[6], id, index, count, path);
    need(same(receipt[0], id) && receipt[1] === height && receipt[2] === index && other === count, "a receipt of another transaction");
    checkPath(header[8], raw, index, count, receiptPath);
    this.callers.add(body[1].toString("hex"));
    this.contracts.add(body[2]);
    this.ids.add(id.toString("hex"));
    this.lowest ??= height;
    const before = this.events.length;
    if (height >= this.first && height <= this.last) {
      receipt[7].forEach((event, place) => {
        if (inner(event, "event", 4)[3].includes(this.subject)) this.add([height, id, place, event]);
      });
    }
    if (this.events.length === before) this.lone.add(id.toString("hex"));
  }

  add(entry) {
    const [contract, name, fields, subjects] = inner(entry[3], "event", 4);
    need(subjects.includes(this.subject), "an entry of another subject");
    this.events.push([`${contract}.${name}`, valueOf(fields), subjects]);
    this.contracts.add(contract);
    const hash = h("assent/entry", encode(["entry", ...entry]));
    this.log = [this.log[0] + 1, h("assent/subject", this.log[1], hash, u64(entry[0]))];
    this.kept += fields.length + subjects.reduce((all, one) => all + one.length, 0);
  }

  // --- what belongs

  close() {
    this.wanted = new Set();
    this.belongs();
    need(this.wanted.size === this.states.size, "a state is missing, or nothing names it");
    for (const place of this.states.keys()) need(this.wanted.has(place), "a state that nothing names");
    const named = new Set();
    for (const [name, fields] of this.events) {
      if (name !== "orgs.ActSeen" || fields.get("done") !== true) continue;
      for (const item of fields.get("seen")) named.add(item.get("tx").toString("hex"));
    }
    need([...this.lone].every((id) => named.has(id)), "a transaction that nothing names");
    need([...named].every((id) => this.ids.has(id)), "a transaction is missing");
  }

  // Want the state at a place; return its value, null where it is absent.
  want(target, key, height = this.last) {
    const [contract, name] = target.split(".");
    const raw = Buffer.from(TABLES.variables.includes(target) ? name : `${name}/`);
    const stateKey = TABLES.variables.includes(target) ? raw : Buffer.concat([raw, encode(key)]);
    const place = `${height} ${contract} ${stateKey.toString("hex")}`;
    this.wanted.add(place);
    return valueOf(this.states.get(place));
  }

  belongs() {
    const ofDataset = this.subject.startsWith("dataset:"), grants = [];
    for (const at of [this.first - 1, this.last]) {
      if (at >= 0) this.wanted.add(`${at} subjects ${Buffer.from(this.subject).toString("hex")}`);
    }
    for (const caller of this.callers) this.want("orgs.keys", caller);
    for (const subject of new Set([this.subject, ...this.events.flatMap(([, , subjects]) => subjects)])) {
      const [kind, ident] = halves(subject);
      if (kind === "contract") this.contracts.add(ident);
      for (const [target, key] of bySubject(kind, ident)) {
        const value = this.want(target, key);
        if (target === "grants.grants") grants.push(value);
        if (target !== "jobs.jobs" || !(value instanceof Map)) continue;
        const disputes = Math.min(value.get("disputes"), DISPUTES_MAX);
        for (let n = 1; n <= disputes; n++) this.want("jobs.disputes", Tuple.of(value.get("id"), n));
      }
    }
    for (const [name, fields] of this.events) {
      for (const [target, parts] of TABLES.events[name] ?? []) {
        for (const key of product(parts.map((part) => partOf(part, fields)))) {
          const value = this.want(target, parts.length === 1 ? key[0] : Tuple.from(key));
          if (target === "grants.grants") grants.push(value);
        }
      }
      for (const [dataset, version, names] of versions(name, fields)) {
        if (!ofDataset || this.subject === `dataset:${dataset}`) this.declared(dataset, version, ofDataset ? null : names);
      }
    }
    for (const grant of grants) {
      if (grant instanceof Map && typeof grant.get("policy") === "string") this.contracts.add(grant.get("policy"));
    }
    this.sourcesOf([...this.contracts].filter((name) => name.length > 0 && [...name].length <= 64));
  }

  declared(dataset, version, names) {
    const row = this.want("datasets.versions", Tuple.of(dataset, version));
    if (!(row instanceof Map)) return;
    const owner = dataset.split("/")[0], seal = row.get("schema");
    const schema = this.want("datasets.schemas", Tuple.of(owner, seal));
    const found = names === null ? [] : [...names];
    for (let part = 0; names === null && part < (schema?.get("parts") ?? 0); part++) {
      found.push(...(this.want("datasets.parts", Tuple.of(owner, seal, part)) ?? []));
    }
    for (const name of found) this.want("datasets.columns", Tuple.of(owner, seal, name));
  }

  sourcesOf(names) {
    const sources = new Map(), pending = names.map((name) => [name, this.lowest ?? this.last, this.last]);
    while (pending.length) {
      const [name, low, high] = pending.pop();
      const numbers = [low, high].map((height) => {
        const row = this.want("lifecycle.active", name, height);
        const both = row instanceof Map ? [row, row.get("next")].filter((one) => one instanceof Map) : [];
        for (const one of both) {
          for (const source of [one.get("source_hash"), ...(one.get("libraries")?.values() ?? [])]) {
            if (!Buffer.isBuffer(source) || source.length !== 32) continue;
            const hex = source.toString("hex");
            sources.set(hex, Math.min(height, sources.get(hex) ?? height));
          }
        }
        return both.map((one) => one.get("seq")).join();
      });
      if (numbers[0] !== numbers[1] && high - low > 1) {
        const middle = Math.floor((low + high) / 2);
        pending.push([name, low, middle], [name, middle, high]);
      }
    }
    for (const [hex, height] of sources) {
      if (!this.sources.has(hex)) this.want("lifecycle.sources", Buffer.from(hex, "hex"), height);
    }
  }
}

function after(place, other) {
  for (let at = 0; at < Math.max(place.length, other.length); at++) {
    const [a, b] = [place[at], other[at]];
    if (a === undefined || b === undefined) return b === undefined;
    const order = Buffer.isBuffer(a) ? Buffer.compare(a, b) : a < b ? -1 : a > b ? 1 : 0;
    if (order) return order > 0;
  }
  return false;
}

function halves(subject) {
  const at = subject.indexOf(":");
  return [subject.slice(0, at), subject.slice(at + 1)];
}

function bySubject(kind, ident) {
  let key = ident;
  if (kind === "library") key = /^[0-9a-f]{64}$/.test(ident) ? Buffer.from(ident, "hex") : null;
  if (kind === "proposal") key = /^[1-9][0-9]{0,15}$/.test(ident) ? Number(ident) : null;
  return key === null ? [] : (TABLES.subjects[kind] ?? []).map((target) => [target, key]);
}

const product = (lists) => lists.reduce((made, list) => made.flatMap((head) => list.map((one) => [...head, one])), [[]]);

function partOf(part, fields) {
  let found = [];
  if (part.startsWith(":")) {
    const subjects = partOf(part.slice(1), fields).filter((one) => typeof one === "string" && one.includes(":"));
    found = subjects.map((one) => halves(one)[1]);
  } else if (part.includes("/")) found = [`${fields.get("key").toString("hex")}/${fields.get("kind")}`];
  else if (part.includes("[]")) {
    const [name, rest] = part.split("[]");
    found = (fields.get(name) ?? []).map((item) => (rest ? item.get(rest.slice(1)) : item));
  } else {
    const [name, field] = part.split(".");
    found = [field ? fields.get(name)?.get(field) : fields.get(name)];
  }
  return found.filter((one) => ["number", "bigint"].includes(typeof one) || ((typeof one === "string" || Buffer.isBuffer(one)) && one.length > 0));
}

function versions(name, fields) {
  if (["datasets.DatasetRegistered", "datasets.DatasetVersioned", "grants.GrantRequested"].includes(name)) {
    const names = name.startsWith("grants") ? [...fields.get("columns").keys()] : null;
    return [[halves(fields.get("dataset"))[1], fields.get("version"), names]];
  }
  const inputs = name === "jobs.JobProposed" ? fields.get("inputs") : [];
  return inputs.map((item) => [item.get("dataset"), item.get("version"), [...item.get("columns").keys()]]);
}

// Return [verdict, what is wrong, the package if it is valid]; what breaks this code is invalid, too.
export function verify(raw, chainId) {
  try {
    const found = new Package(raw, chainId);
    found.read();
    return ["valid", "", found];
  } catch (error) {
    if (error instanceof Bad) return [error.verdict, error.message, null];
    if (error instanceof TypeError || error instanceof RangeError) return ["invalid", `a record of another form (${error.message})`, null];
    throw error;
  }
}

const words = process.argv.slice(2);
for (let at = 0; at + 1 < words.length; at += 2) {
  const [verdict, why, found] = verify(readFileSync(words[at]), Buffer.from(words[at + 1], "hex"));
  const said = found && { subject: found.subject, from: found.first, to: found.last, events: found.events.length, content: found.content.digest("hex") };
  console.log(JSON.stringify({ verdict, why, ...said }));
  process.exitCode = ENDS[verdict];
}
