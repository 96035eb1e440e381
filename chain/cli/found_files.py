"""The files of a founding, and what of it is in an organisation's own folder."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from chain.cli.layout import LayoutError, OrgFolder
from chain.founding import cards, consent, draft
from chain.founding.cards import FoundingCard, card_from_bytes
from chain.founding.consent import FoundingConsent, check_complete, consent_from_bytes
from chain.founding.draft import FoundingDraft, draft_from_bytes
from chain.founding.refusals import FoundingRefused
from chain.ledger.genesis import ORG_ID, Genesis
from chain.primitives.errors import FileTrouble
from chain.primitives.files import file_remedy, read_bounded
from chain.primitives.settings import ID_WORDS

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class FoundersFolder:
    """What `assent found` keeps in an organisation's folder."""

    org: OrgFolder

    @property
    def card(self) -> Path:
        """Its own card."""
        return self.org.founding_card

    @property
    def signature(self) -> Path:
        """Its own signature of the genesis."""
        return self.org.path / signature_name(self.org.name)

    @property
    def genesis(self) -> Path:
        """The genesis file; there once the founding is complete."""
        return self.org.path / "genesis.json"

    @property
    def record(self) -> Path:
        """The folder with the draft and all signatures: the proof that all founders founded this chain."""
        return self.org.path / "founding"

    @property
    def record_draft(self) -> Path:
        """The draft that all founders signed."""
        return self.record / "founding.json"


def signature_name(org: str) -> str:
    """Return the name of the file with an organisation's signature."""
    return f"{org}.signature.json"


def founders_folder(path: Path) -> FoundersFolder:
    """Return the folder of one organisation, named after it (LayoutError)."""
    named = path if path.name not in ("", "..") else path.resolve()
    if ORG_ID.fullmatch(named.name) is None:
        raise LayoutError(
            f"{path}: {named.name!r} is not the name of an organisation, which its folder has: {ID_WORDS}"
        )
    return FoundersFolder(OrgFolder(named))


def own_card(folder: FoundersFolder) -> FoundingCard:
    """Read an organisation's own card; raise LayoutError where it has none."""
    if not folder.card.exists():
        raise LayoutError(
            f"{folder.card}: not there, so {folder.org.path} is not the folder of a founder; make one with: "
            "assent found request"
        )
    card = read_card(folder.card)
    if card.org != folder.org.name:
        raise FoundingRefused(
            f"{folder.card}: the card of {card.org!r}, and the folder is that of {folder.org.name!r}; put "
            "its own card back, or make a new one with: assent found request"
        )
    return card


def read_card(path: Path) -> FoundingCard:
    """Read a card (FoundingRefused, FileTrouble)."""
    return _read(path, cards.FILE_BYTES_MAX, card_from_bytes)


def read_cards(paths: Iterable[Path]) -> list[tuple[str, FoundingCard]]:
    """Read cards, each with the words that name it."""
    return [(str(path), read_card(path)) for path in paths]


def read_draft(path: Path) -> FoundingDraft:
    """Read a draft (FoundingRefused, FileTrouble)."""
    return _read(path, draft.FILE_BYTES_MAX, draft_from_bytes)


def read_consents(paths: Sequence[Path]) -> list[tuple[str, FoundingConsent]]:
    """Read signatures, each with the words that name it."""
    return [(str(path), _read(path, consent.FILE_BYTES_MAX, consent_from_bytes)) for path in paths]


def _read(path: Path, most: int, read: Callable[[bytes, str], T]) -> T:
    try:
        raw = read_bounded(path, most)
    except OSError as error:
        raise FileTrouble(f"{path}: cannot be read ({error.strerror}); {file_remedy(error)}") from None
    return read(raw, str(path))


def check_record(folder: FoundersFolder, genesis: Genesis) -> int:
    """Return how many founded this chain, as the signatures in a folder prove (FoundingRefused)."""
    found = read_draft(folder.record_draft)
    if found.genesis != genesis:
        raise FoundingRefused(
            f"{folder.record_draft}: of the genesis {found.genesis.chain_id.hex()[:16]}, and that of the "
            f"node is {genesis.chain_id.hex()[:16]}; fetch the genesis again from a member"
        )
    paths = [folder.record / signature_name(card.org) for card in found.cards]
    check_complete(found, read_consents([path for path in paths if path.exists()]))
    return len(found.cards)
