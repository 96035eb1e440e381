"""Files of contracts and libraries: read, checked before they are sent, and what compiling them may cost."""

from __future__ import annotations

from pathlib import Path

from chain.primitives.errors import AssentError, FileTrouble
from chain.primitives.files import read_bounded
from contracts.check import CheckReport
from contracts.language.limits import SOURCE_BYTES_MAX

GAS_PER_SOURCE_BYTE = 60
GAS_BASE = 2_000_000


class ContractFileError(AssentError):
    """A contract file that cannot be sent: the text names it and what to do."""

    code = "contract_file"


def gas_of(*sources: str) -> int:
    """Return a gas limit for compiling sources on the ledger."""
    return GAS_BASE + GAS_PER_SOURCE_BYTE * sum(len(source.encode()) for source in sources)


def read_text(file: Path, what: str = "contract or library") -> str:
    """Return the text of a file of some kind; raise FileTrouble, ContractFileError."""
    try:
        return read_bounded(file, SOURCE_BYTES_MAX).decode()
    except OSError as error:
        raise FileTrouble(f"{file}: cannot be read ({error.strerror}); name the file of a {what}") from None
    except UnicodeDecodeError as error:
        raise ContractFileError(f"{file}: not UTF-8 text ({error}); name the file of a {what}") from None


def require_sound(report: CheckReport, file: Path, what: str) -> None:
    """Raise ContractFileError with every diagnostic when a source is refused."""
    if report.program is None:
        reasons = "\n".join(item.render(str(file)) for item in report.diagnostics)
        raise ContractFileError(f"{file} is not a {what}, and was not sent:\n{reasons}")
