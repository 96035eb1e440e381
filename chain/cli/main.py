"""The `assent` command."""

from __future__ import annotations

import click


@click.group()
def main() -> None:
    """Run, use and audit an Assent consortium."""
