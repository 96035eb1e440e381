"""Sphinx's configuration of the site: the documents as they stand, and the reference made from docstrings.

`scripts/docs` copies the tree to build/site/source first, so that the pages that Sphinx generates never stand
among the sources.
"""

from __future__ import annotations

import re
from pathlib import Path

project = "Assent"
author = "the authors of Assent"
html_title = "Assent"
html_theme = "furo"
root_doc = "docs/index"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.apidoc"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
include_patterns = ["*.md", "**/*.md", "api/**"]
exclude_patterns = [".github/**"]

myst_heading_anchors = 4
"""Links to headings work as they do where the repository is read."""
myst_enable_extensions = ["deflist"]
suppress_warnings = ["misc.highlighting_failure", "ref.python"]
"""Blocks that are no whole program; annotations whose class name stands twice, which tests/house counts."""

default_role = "code"
"""Docstrings name code in single backticks."""
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_default_options = {"members": True, "undoc-members": True, "show-inheritance": True}

SOURCE = Path(__file__).resolve().parents[2]
# One page a package: the theme reads the whole tree of pages anew for each page.
apidoc_modules = [
    {
        "path": str(SOURCE / package),
        "destination": f"api/{package}",
        "exclude_patterns": [str(SOURCE / "contracts/system/[!_]*.py")] if package == "contracts" else [],
        "separate_modules": False,
        "module_first": True,
        "include_private": False,
        "automodule_options": {"members", "undoc-members", "show-inheritance"},
    }
    for package in ("chain", "consensus", "contracts", "privcompute")
]

_MARKUP = re.compile(r"(`[^`]*`)(?P<joined>(?=\w))?|([*|\\`]|(?<=\w)_(?!\w))")
"""Code in backticks, which stays (a letter may follow it), or a sign that begins markup, which is escaped."""


def _plain(_app: object, _what: str, _name: str, _obj: object, _options: object, lines: list[str]) -> None:
    """Keep docstrings what they are, plain text with code in backticks and indented examples."""
    text = _MARKUP.sub(_escaped, "\n".join(lines))
    lines[:] = []
    for line in text.split("\n"):
        deeper = bool(lines) and bool(lines[-1].strip()) and _indent(line) > _indent(lines[-1])
        if deeper and line.strip() and not lines[-1].lstrip().startswith(("- ", ":")):
            lines.append("")
        lines.append(line)


def _escaped(found: re.Match[str]) -> str:
    if found[1] is None:
        return "\\" + found[3]
    return found[1] if found["joined"] is None else found[1] + "\\ "


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def setup(app: object) -> None:
    """Connect to Sphinx."""
    app.connect("autodoc-process-docstring", _plain)  # type: ignore[attr-defined]
