"""What the programs that make a bundle and an image have in common: options, steps, errors, last words."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from chain.client.console import print_text, reports_errors
from chain.primitives.errors import AssentError, Exit
from deploy.packing import EPOCH, digest

F = TypeVar("F", bound=Callable[..., Any])
REPOSITORY = Path(__file__).resolve().parents[1]


class NotMade(AssentError):
    """What cannot be made here, or of this: the text names what is missing or wrong, and the remedy."""

    code = "not-made"
    exit = Exit.CONFIG


def command(name: str) -> Callable[[F], click.Command]:
    """Decorate what makes a bundle or an image, which this is the name of: it gets --output, and speaks."""
    output = click.option(
        "--output",
        type=click.Path(path_type=Path, file_okay=False),
        default=REPOSITORY / "build" / name,
        help=f"The folder in which the {name} is made; build/{name} if none is given.",
    )
    settings = {"help_option_names": ["-h", "--help"], "max_content_width": 110}
    return lambda work: click.command(context_settings=settings)(output(reports_errors(work)))


def step(line: Sequence[str], **own: str) -> str:
    """Run one step, with these variables and the time of what is packed; return what it says if it fails."""
    environment: Mapping[str, str] = {**os.environ, "SOURCE_DATE_EPOCH": str(EPOCH), **own}
    done = subprocess.run(line, env=environment, capture_output=True, text=True, check=False)
    return (done.stderr.strip() or f"status {done.returncode}") if done.returncode else ""


def tell(made: Path) -> None:
    """Print where what was made is, its size, and its hash, by which others know it."""
    print_text(f"{made}: {made.stat().st_size / 1e6:.0f} MB")
    print_text(f"sha256 {digest(made)}")
