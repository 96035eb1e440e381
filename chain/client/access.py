"""How a node is reached: by which certificate one knows it, and what proves to it who asks."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from chain.client.answers import OtherScheme, silence_of
from chain.primitives.crypto import Signer
from chain.primitives.errors import AssentError, CertificateInvalid, ConfigError, Exit
from chain.primitives.files import read_bounded
from chain.primitives.settings import is_loopback
from chain.primitives.tls import peer_key, probe_context, proven_key

PORT_OF_TLS = 443
PEM_BYTES_MAX = 262_144
BEGIN, END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"


class UnknownNode(AssentError):
    """A certificate that is not of a node one knows: the text says whose it is and how to name it."""

    code = "unknown_node"
    exit = Exit.CONFIG


@dataclass(frozen=True, slots=True)
class NodeAccess:
    """What a client brings along to a node."""

    token: Callable[[], str] | None = None
    """Returns the token of a program, or of the host's operator, "" for none."""
    key: Callable[[], Signer] | None = None
    """Opens the member's key that proves who asks, when a node wants to know."""
    nodes: frozenset[bytes] = frozenset()
    """Keys of the node that is meant: it shows one of them, and no other key is taken for it."""
    beside: frozenset[bytes] = frozenset()
    """Where no node is named: keys that are known beside those of the genesis."""
    ca: Path | None = None
    """Authorities of a node that shows a certificate from files; else it shows that of its own key."""
    shown: bytes = b""
    """The certificate, in DER, of a node whose files are at hand; else it is judged when it is shown."""

    @property
    def is_named(self) -> bool:
        """Whether one node is meant, and not any founder's."""
        return bool(self.nodes or self.ca or self.shown)

    def bearer(self) -> str:
        """Return the token to send, "" for none."""
        return "" if self.token is None else self.token().strip()


def check_token_may_go(url: str, access: NodeAccess) -> None:
    """Raise ConfigError where a token would go out in the clear, or to whichever founder's node answers."""
    check_private(url)
    if url.startswith("https:") and not access.is_named:
        raise ConfigError(
            f"node {url!r}: a token goes to the node that it is for alone, and the genesis names those of "
            "all founders; say which: --pin KEY (assent org show ORG prints it), or --ca FILE where it shows "
            "a certificate from files"
        )


def check_private(url: str) -> None:
    """Raise ConfigError where a secret would go to another host in the clear."""
    parts = urlsplit(url)
    if parts.scheme != "https" and not is_loopback(parts.hostname or ""):
        raise ConfigError(
            f"node {url!r}: tokens and sessions are sent by TLS alone, or on this host: give https://HOST:PORT"
        )


def first_certificate(path: Path) -> bytes:
    """Return the first certificate of a PEM file, in DER; empty for a file that has none."""
    try:
        text = read_bounded(path, PEM_BYTES_MAX).decode("ascii")
        return ssl.PEM_cert_to_DER_cert(text[text.index(BEGIN) : text.index(END) + len(END)])
    except (OSError, ValueError):
        return b""


async def certificate_of(
    url: str, access: NodeAccess, founders: Collection[bytes], timeout_s: float
) -> bytes:
    """Return the certificate, in DER, of a node that is known; nothing is sent to it.

    Known is the node that `access` names, alone; where it names none, that of any founder. Raises UnknownNode
    for another's, NodeUnreachable where nobody answers.
    """
    parts = urlsplit(url)
    context = probe_context() if access.ca is None else _context_of(access.ca)
    try:
        async with asyncio.timeout(timeout_s):
            _, writer = await asyncio.open_connection(
                parts.hostname, parts.port or PORT_OF_TLS, ssl=context, server_hostname=parts.hostname
            )
    except ssl.SSLCertVerificationError as error:
        raise UnknownNode(
            f"{url}: its certificate does not hold by {access.ca} ({error.verify_message}); name the file of "
            "its authority (--ca, node_ca in agent.toml), or see what listens there"
        ) from None
    except ssl.SSLError as error:
        no_tls = silence_of(url, error)
        if isinstance(no_tls, OtherScheme):
            raise no_tls from None
        raise silence_of(url, OSError(f"no TLS 1.3 ({error.reason}): see [rpc] tls of that node")) from None
    except (TimeoutError, OSError) as error:
        raise silence_of(url, error) from None
    shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.transport.abort()
    if access.ca is None:
        _check_known(url, shown, access.nodes or {*founders, *access.beside}, _why_unknown(access, founders))
    elif access.nodes:
        _check_pinned(url, shown, access.nodes)
    return bytes(shown)


def _why_unknown(access: NodeAccess, founders: Collection[bytes]) -> str:
    """Say of a key that is not known what it is compared with."""
    if access.nodes:
        named = sorted(key.hex() for key in access.nodes)
        return (
            f"not {named[0]}" if len(named) == 1 else f"none of the {len(named)} keys that this node may have"
        )
    if not founders:
        return "and no --genesis is given, by which founders' nodes are known"
    return "no founder's of this chain, and not named"


def _check_pinned(url: str, shown: bytes | None, nodes: Collection[bytes]) -> None:
    """Raise UnknownNode for a certificate that holds by its authority, of another key than the one named."""
    try:
        key = peer_key(shown)
    except CertificateInvalid as error:
        raise UnknownNode(f"{url}: {error}, and --pin names one; leave --pin out, or --ca") from None
    if key not in nodes:
        raise UnknownNode(
            f"{url} shows the key {key.hex()}, not the one of --pin (node_key in agent.toml), though its "
            "certificate holds by --ca; ask its operator, or see what listens there"
        )


def _check_known(url: str, shown: bytes | None, known: Collection[bytes], why: str) -> None:
    try:
        proven_key(shown, known)
    except CertificateInvalid:
        with contextlib.suppress(CertificateInvalid):
            raise UnknownNode(
                f"{url} shows the key {peer_key(shown).hex()}, {why}; if its operator, or assent org show "
                "ORG at a node that you know, says that it is this node's, give it: --pin KEY (node_key in "
                "agent.toml)"
            ) from None
        raise UnknownNode(
            f"{url} shows a certificate that is no node's own; name the file of its authority: --ca FILE "
            "(node_ca in agent.toml), or see what listens there"
        ) from None


def _context_of(ca: Path) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca)
    except (OSError, ssl.SSLError) as error:
        said = error.strerror if isinstance(error, OSError) and error.strerror else "no certificates in PEM"
        raise ConfigError(f"--ca {ca}: {said}; name a PEM file of certificate authorities") from None
