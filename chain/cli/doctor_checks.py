"""What `assent doctor` examines on one organisation's host, each with its one line and one remedy."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import importlib
import os
import platform
import re
import resource
import shlex
import shutil
import socket
import stat
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

from chain.api.accesslog import ROOM_LEAST
from chain.api.port_tls import WARN_DAYS, tls_of_files
from chain.api.tokens import load_tokens
from chain.cli import processes
from chain.cli.found_files import FoundersFolder, check_record
from chain.cli.key import public_key
from chain.cli.layout import OrgFolder
from chain.config import CONNECTIONS_MIN, NodeConfig, NodeFiles
from chain.founding.cards import moment
from chain.ledger.genesis import Genesis
from chain.node.budget import LOWER, descriptor_parts, memory_warning
from chain.primitives.acceptor import cannot_listen
from chain.primitives.certificate import quorum
from chain.primitives.descriptors import limit_for
from chain.primitives.errors import AssentError, Exit
from chain.primitives.headstatement import head_from_json
from chain.primitives.keyfile import PASSPHRASE_VARIABLE, is_sealed
from chain.primitives.settings import check_address, split_address
from chain.primitives.visible import error_text
from chain.primitives.words import counted

FINE, DOUBTFUL, WRONG = "fine", "doubtful", "wrong"
PYTHON_MIN = (3, 11)
NATIVE = ("plyvel", "nacl.bindings", "msgpack", "uvloop", "cryptography.x509", "pydantic_core")
"""Libraries with machine code that a node cannot do without: a wheel of another machine fails here."""
MIB, GIB = 2**20, 2**30
DISK_LEAST, DISK_GOOD = 256 * MIB, 5 * GIB
INODES_LEAST, INODES_GOOD = 1_000, 10_000
DIAL_S = 3.0
HEAD_AGE_MS = 60_000
DAY_MS = 86_400_000
TOKEN_SOON_MS = 14 * DAY_MS
NAMES_MAX = 8
"""Tokens that one line names."""
TIME_ERROR = 5
"""What adjtimex(2) returns where nobody keeps the clock right."""
TIMEX_BYTES = 512
"""More than the kernel's struct timex has."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What one check found."""

    check: str
    verdict: str
    said: str
    remedy: str = ""
    exit: Exit = Exit.CONFIG
    """How the command ends where this is wrong and nothing is worse."""


def fine(check: str, said: str) -> Diagnosis:
    """Return a finding that needs nothing."""
    return Diagnosis(check, FINE, said)


def check_python() -> Diagnosis:
    """Judge the Python that runs this."""
    said = f"{platform.python_implementation()} {platform.python_version()}, {sys.executable}"
    if sys.version_info < PYTHON_MIN or sys.maxsize < 2**32:
        least = ".".join(map(str, PYTHON_MIN))
        return Diagnosis("python", WRONG, said, f"install a 64-bit Python {least} or later, and Assent in it")
    return fine("python", said)


def check_libraries() -> Diagnosis:
    """Judge whether all libraries are there, new enough, load, and compute as on every host."""
    from contracts.selfcheck import self_check

    stated = [re.match(r"([\w.-]+)>=([\d.]+)$", line) for line in requires("assent") or ()]
    wanted = [(found[1], found[2]) for found in stated if found]
    faults = [fault for name, least in wanted if (fault := _lacking(name, least))]
    for name in NATIVE:
        try:
            importlib.import_module(name)
        except ImportError as error:
            faults.append(f"{name} does not load ({error_text(error)})")
    if faults:
        remedy = "install Assent again from its wheels for this machine: pip install --force-reinstall"
        return Diagnosis("libraries", WRONG, "; ".join(faults), remedy)
    try:
        self_check()
    except AssentError as error:
        return Diagnosis("libraries", WRONG, str(error), "install the versions of requirements.lock")
    return fine("libraries", f"{len(wanted)} are there and load; contracts run here as everywhere")


def _lacking(name: str, least: str) -> str:
    """Say how a library lacks; empty where it is there and new enough."""
    try:
        have = version(name)
    except PackageNotFoundError:
        return f"{name} is not installed"
    numbers = [[int(part) for part in re.findall(r"\d+", text)[:3]] for text in (have, least)]
    return "" if numbers[0] >= numbers[1] else f"{name} {have} is older than {least}"


def check_ports(org: OrgFolder, listens: Sequence[tuple[str, str, str]]) -> Iterator[Diagnosis]:
    """Judge each (process, setting, address): its own process listens there, or it is free."""
    for process, setting, address in listens:
        check, port = f"port {setting}", split_address(address)[1]
        if port and processes.owns_port(org, process, port):
            yield fine(check, f"{address}: the {process} of {org.name} listens")
            continue
        try:
            _try_to_listen(address)
        except OSError as error:
            said, _, remedy = str(cannot_listen(setting, address, error)).partition("; ")
            yield Diagnosis(check, WRONG, said, remedy)
        else:
            yield fine(check, f"{address}: free")


def _try_to_listen(address: str) -> None:
    host, port = split_address(address)
    family, _, _, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.create_server((str(place[0]), port), family=family):
        pass


def check_clock(genesis: Genesis, now_ms: int) -> Diagnosis:
    """Judge the clock: after genesis, and kept right by somebody where that can be seen."""
    said = moment(now_ms)
    keep = "let chrony or systemd-timesyncd keep the clock right; others refuse batches of a wrong one"
    if now_ms < genesis.time:
        return Diagnosis("clock", WRONG, f"{said}, which is before height 0, {moment(genesis.time)}", keep)
    if _kept_right() is False:
        return Diagnosis("clock", DOUBTFUL, f"{said}; the kernel says that nobody keeps it right", keep)
    return fine("clock", said)


def _kept_right() -> bool | None:
    """Tell whether a program keeps the kernel's clock right; None where that cannot be seen."""
    try:
        state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.create_string_buffer(TIMEX_BYTES))
    except (OSError, AttributeError):
        return None
    return None if state < 0 else state != TIME_ERROR


def judge_head(page: Any, chain_id: bytes, key: str, now: int) -> Diagnosis:
    """Judge the head statement of the own node, which others go by: chain, key, signature, clock."""
    try:
        stated = head_from_json(page)
    except (KeyError, TypeError, ValueError):
        return Diagnosis("head", WRONG, "it signs no head statement", "start the node anew", Exit.REFUSED)
    if stated.chain_id != chain_id or stated.node.hex() != key or not stated.holds():
        said = "its head statement is of another chain or key, or its signature does not hold"
        return Diagnosis("head", WRONG, said, "see what listens at rpc.listen", Exit.DAMAGED)
    if abs(now - stated.time) > HEAD_AGE_MS:
        said = f"its head statement is of {moment(stated.time)}, and it is {moment(now)} here"
        return Diagnosis("head", DOUBTFUL, said, "let chrony or systemd-timesyncd keep the clock right")
    return fine("head", f"it states height {stated.height}, signed by its key")


def check_disks(folders: Sequence[Path]) -> Iterator[Diagnosis]:
    """Judge room and inodes of the file systems that hold these folders."""
    seen = set()
    for folder in folders:
        place = next(path for path in (folder, *folder.parents) if path.exists())
        device = place.stat().st_dev
        if device in seen:
            continue
        seen.add(device)
        free = shutil.disk_usage(place).free
        yield judge_room("disk", free, DISK_LEAST, DISK_GOOD, f"{free / GIB:,.1f} GiB free at {place}")
        inodes = os.statvfs(place)
        if inodes.f_files:  # some file systems have no fixed number
            said = f"{inodes.f_favail:,} inodes free at {place}"
            yield judge_room("inodes", inodes.f_favail, INODES_LEAST, INODES_GOOD, said)


def judge_room(check: str, free: int, least: int, good: int, said: str) -> Diagnosis:
    """Judge how much is left of what a node fills."""
    if free >= good:
        return fine(check, said)
    remedy = "make room, or keep less history: [storage] keep_blocks in node.toml (docs/storage.md)"
    return Diagnosis(check, WRONG if free < least else DOUBTFUL, said, remedy, Exit.IO)


def check_limits(config: NodeConfig, members: int) -> Iterator[Diagnosis]:
    """Judge the limit on open files and the memory that the caches may take."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    spare = config.rpc.max_connections - CONNECTIONS_MIN
    try:
        limit = limit_for(descriptor_parts(config, members), soft, hard, LOWER, spare)
    except AssentError as error:
        said, _, remedy = str(error).partition("; ")
        yield Diagnosis("file limits", WRONG, said, remedy)
    else:
        hard_words = "none" if hard == resource.RLIM_INFINITY else f"{hard:,}"
        yield fine("file limits", f"the node runs under {limit:,} open files; the hard limit is {hard_words}")
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    said, _, remedy = memory_warning(config, total).partition("; ")
    yield Diagnosis("memory", DOUBTFUL, said, remedy) if said else fine("memory", f"{total / GIB:,.1f} GiB")


def check_keys(org: OrgFolder, files: NodeFiles, agent_key: Path | None) -> Iterator[Diagnosis]:
    """Judge that keys are there, for their owner alone, and can be opened by what starts here."""
    named = {"files.key of node.toml": files.key, "the admin key": org.key("admin")}
    if agent_key is not None:
        named["files.key of agent.toml"] = agent_key
    faults, remedy, sealed = [], "", []
    for words, path in named.items():
        fault, cure = _key_fault(words, path)
        if fault:
            faults.append(fault)
            remedy = remedy or cure
        elif is_sealed(path) and not os.environ.get(PASSPHRASE_VARIABLE):
            sealed.append(path.name)
    if faults:
        yield Diagnosis("keys", WRONG, "; ".join(faults), remedy)
    elif sealed:
        said = f"sealed, and no passphrase is given here: {', '.join(sealed)}"
        yield Diagnosis("keys", DOUBTFUL, said, f"set {PASSPHRASE_VARIABLE} where the process starts")
    else:
        yield fine("keys", f"{len(named)} in {files.key.parent}, for their owner alone")


def _key_fault(words: str, path: Path) -> tuple[str, str]:
    quoted = shlex.quote(str(path))
    try:
        found = path.stat()
    except OSError as error:
        return f"{words}, {path}: {error.strerror}", "put it back from its backup (docs/keys.md)"
    if found.st_uid != os.geteuid():
        return f"{path}: not of this user", f"chown it to who runs the node, or ask as that user: {quoted}"
    if stat.S_IMODE(found.st_mode) & 0o077:
        return f"{path}: mode {stat.S_IMODE(found.st_mode):04o}, others read it", f"chmod 600 {quoted}"
    folder = path.parent.stat()
    if stat.S_IMODE(folder.st_mode) & 0o022:
        return f"{path.parent}: others may exchange files in it", f"chmod 700 {shlex.quote(str(path.parent))}"
    try:
        public_key(str(path), words)
        is_sealed(path)
    except AssentError as error:
        return str(error), "put it back from its backup (docs/keys.md)"
    return "", ""


def check_writable(folders: Sequence[Path]) -> Diagnosis:
    """Judge whether this user may write where the processes keep things."""
    places = [next(path for path in (folder, *folder.parents) if path.exists()) for folder in folders]
    closed = [str(place) for place in places if not os.access(place, os.W_OK | os.X_OK)]
    if closed:
        remedy = "chown them to who runs the node, or ask as that user"
        return Diagnosis(
            "folders", WRONG, f"not writable for this user: {', '.join(closed)}", remedy, Exit.IO
        )
    return fine("folders", "data and logs can be written")


def check_access_log(path: Path) -> Diagnosis:
    """Judge whether the node may write the file that [files] access_log names, without touching it."""
    remedy = "chown it and its folder to who runs the node, or name another file in [files] access_log"
    try:
        kind, place = stat.S_IFMT(path.stat().st_mode), path
    except FileNotFoundError:
        kind, place = stat.S_IFREG, path.parent
    except OSError as error:
        return Diagnosis("access log", WRONG, f"{path}: {error.strerror}", remedy)
    if kind != stat.S_IFREG:
        return Diagnosis("access log", WRONG, f"{path}: not a regular file", "name a file of its own")
    if not place.is_dir() and place != path:
        said = f"{path}: its folder is not there, so the node does not start"
        return Diagnosis("access log", WRONG, said, f"mkdir -p {shlex.quote(str(place))}")
    if not os.access(place, os.W_OK if place == path else os.W_OK | os.X_OK):
        return Diagnosis("access log", WRONG, f"{path}: not writable for this user", remedy, Exit.IO)
    free = shutil.disk_usage(place).free
    if free < ROOM_LEAST:
        said = f"{path}: {free / MIB:,.0f} MiB left on its disk; below {ROOM_LEAST // MIB} it gets no line"
        return Diagnosis("access log", DOUBTFUL, said, "make room there, or name a file on another disk")
    return fine("access log", f"{path} can be written")


def check_certificate(pair: tuple[Path, Path], now: int) -> Diagnosis:
    """Judge the certificate that [files] rpc_certificate names, and its key, by what a start would say."""
    renew = "renew it with its authority, put both files in place, then start the node anew"
    try:
        _, _, days = tls_of_files(pair, now)
    except AssentError as error:
        said, _, remedy = str(error).partition("; ")
        return Diagnosis("rpc certificate", WRONG, said, renew if "valid from" in said else remedy or renew)
    if days < WARN_DAYS:
        return Diagnosis("rpc certificate", DOUBTFUL, f"{pair[0]}: ends in {counted(days, 'day')}", renew)
    return fine("rpc certificate", f"{pair[0]}: good for {days} days")


def check_tokens(config: Path, path: Path, asked_for: bool, now: int) -> Diagnosis:
    """Judge the tokens of programs by their ends: one that is over or ends soon is replaced before."""
    try:
        tokens = load_tokens(path)
    except AssentError as error:
        said, _, remedy = str(error).partition("; ")
        return Diagnosis("tokens", WRONG if asked_for else DOUBTFUL, said, remedy)
    over = [token.name for token in tokens if token.expires <= now]
    soon = [token.name for token in tokens if now < token.expires <= now + TOKEN_SOON_MS]
    if not over and not soon:
        first = min((token.expires for token in tokens), default=0)
        return fine("tokens", f"{len(tokens)}, the first ends {moment(first)}" if first else "none")
    parts = [f"over: {_few(over)}"] if over else []
    parts += [f"end within {TOKEN_SOON_MS // DAY_MS} days: {_few(soon)}"] if soon else []
    where = f"--config {shlex.quote(str(config))}"
    name = (over or soon)[0]
    remedy = f"make others in their place: assent node token remove {name} {where}, then: token new {name} …"
    return Diagnosis("tokens", DOUBTFUL, "; ".join(parts), remedy)


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMES_MAX} more" if len(names) > NAMES_MAX else ""
    return ", ".join(names[:NAMES_MAX]) + more


def check_secrets(files: NodeFiles) -> Diagnosis:
    """Judge that the operator's secret and the tokens of the RPC port are for their owner alone."""
    here = [path for path in (files.operator_token, files.tokens) if path.exists()]
    faults = [(path, mode) for path in here if (mode := stat.S_IMODE(path.stat().st_mode)) & 0o077]
    if faults:
        said = "; ".join(f"{path}: mode {mode:04o}, for others too" for path, mode in faults)
        remedy = "chmod 600 " + " ".join(shlex.quote(str(path)) for path, _ in faults)
        return Diagnosis("rpc secrets", WRONG, said, remedy)
    return fine("rpc secrets", f"{len(here)}, for their owner alone")


def check_genesis(org: OrgFolder, files: NodeFiles, genesis: Genesis) -> Diagnosis:
    """Judge the genesis by the signatures of its founders where they are here, and the node's key by it."""
    words = [f"{genesis.chain_name}, {genesis.chain_id.hex()}"]
    record = FoundersFolder(org)
    if record.record_draft.exists():
        try:
            words.append(f"signed by all {check_record(record, genesis)} founders")
        except AssentError as error:
            return Diagnosis("genesis", WRONG, str(error), "fetch the file again from a member", error.exit)
    with contextlib.suppress(AssentError):  # what is wrong with the key is said of the keys
        own = public_key(str(files.key), "files.key")
        words += [f"{v.name} is a founder" for v in genesis.validators if v.public_key == own]
    return fine("genesis", "; ".join(words))


async def check_peers(others: Sequence[tuple[str, str]], validators: int) -> Diagnosis:
    """Judge whether the ports of the other validators' nodes, (name, address), can be dialled from here."""
    troubles = await asyncio.gather(*(_dial(address) for _, address in others))
    away = [
        f"{name} at {address} ({why})" for (name, address), why in zip(others, troubles, strict=True) if why
    ]
    if not away:
        return fine("peers", f"{counted(len(others), 'other validator')}, none that cannot be dialled")
    said = f"{len(away)} of {counted(len(others), 'other validator')} cannot be dialled: {'; '.join(away)}"
    remedy = "ask their operators to start them and to open that port to this host, and yours to let it out"
    if validators - len(away) >= quorum(validators):
        return Diagnosis("peers", DOUBTFUL, said, remedy)
    return Diagnosis("peers", WRONG, said, remedy, Exit.NO_QUORUM)


async def check_own_address(address: str) -> Diagnosis:
    """Judge whether the address that others dial leads to somebody who listens, as seen from this host."""
    why = await _dial(address)
    if not why:
        return fine("address", f"{address}, which others dial, leads to somebody who listens")
    remedy = "see that it leads to network.listen; behind a router only the others can tell: ask them"
    said = f"{address}, which others dial, leads to nobody as seen from here: {why}"
    return Diagnosis("address", DOUBTFUL, said, remedy)


async def _dial(address: str) -> str:
    """Say why an address, which may be any text that members voted for, cannot be dialled; else nothing."""
    try:
        host, port = split_address(check_address(address))
        async with asyncio.timeout(DIAL_S):
            _, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        return f"no answer within {DIAL_S:.0f} s"
    except socket.gaierror as error:
        return f"the name does not resolve: {error.strerror}"
    except OSError as error:
        return os.strerror(error.errno) if error.errno else error_text(error)
    except (ValueError, OverflowError) as error:  # no address, or what cannot be a name
        return error_text(error)
    writer.close()
    return ""


def now_ms() -> int:
    """Return the clock of this host, in milliseconds since the epoch."""
    return time.time_ns() // 1_000_000
