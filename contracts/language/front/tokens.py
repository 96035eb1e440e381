"""The lexical check, which a source passes before CPython's parser sees it.

Parsers differ between CPython versions and fall over on deep input in ways that depend on the host's stack.
So one pass of our own bounds brackets, operators per expression, indentation, `elif` chains and literals, and
refuses every lexical form whose reading differs between versions (escapes by character name, f-strings
whose fields hold braces, escapes or their own quotes, numbers that run into words, control and bidirectional
characters).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from contracts.language.faults import Diagnostic
from contracts.language.limits import (
    BRACKET_DEPTH_MAX,
    ELIF_MAX,
    INDENT_DEPTH_MAX,
    LITERAL_DIGITS_MAX,
    NAME_LENGTH_MAX,
    SEGMENT_OPERATORS_MAX,
    SOURCE_BYTES_MAX,
    SOURCE_TOKENS_MAX,
)
from contracts.language.vocabulary import FORMAT_SPEC, FORMATS

_TOKEN = re.compile(
    r"""(?P<newline>\n)
      | (?P<space>[ ]+|\\\n)
      | (?P<comment>\#[^\n]*)
      | (?P<string>(?P<prefix>[A-Za-z]{0,3})(?P<quote>\"\"\"|'''|"|'))
      | (?P<number>[0-9][0-9A-Za-z_.]*|\.[0-9][0-9A-Za-z_.]*)
      | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
      | (?P<open>[(\[{])
      | (?P<close>[)\]}])
      | (?P<separator>,|;|:(?!=))
      | (?P<operator>[-+*/%@&|^~<>=.!]=?|:=)
    """,
    re.VERBOSE,
)
_INTEGER = re.compile(r"0|[1-9](?:_?[0-9])*|0[xX](?:_?[0-9a-fA-F])+|0[oO](?:_?[0-7])+|0[bB](?:_?[01])+")
_FLOAT = re.compile(r"[0-9_]*\.[0-9_]*(?:[eE][0-9_]*)?|[0-9_]+[eE][0-9_]*")
_REAL = re.compile(r"(?:0|[1-9][0-9]*)\.[0-9]+")
_REAL_DIGITS_MAX = 15
"""Digits of a real literal of a page: so many survive every reading of it."""
_ESCAPE = re.compile(r"""\\(?:[ntr\\'"\n]|x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8})""")
_BYTES_ESCAPE = re.compile(r"""\\(?:[ntr\\'"\n]|x[0-9a-fA-F]{2})""")
_INNER_STRING = re.compile(r"""b?(?:'[^'"\\{}#\n]*'|"[^'"\\{}#\n]*")""")
"""A text inside a field: plain ASCII or not, without what parsers before 3.12 refuse there."""
_SPEC = re.compile(r":(" + FORMAT_SPEC.pattern + r")\}")
_FIELD_WORDS = frozenset({"for", "async", "await", "yield", "lambda"})
"""What parsers read differently in a field, outside of its brackets."""
_CONTROL = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069\ufeff]"
)
_LAYOUT = frozenset({"space", "comment", "newline"})
_FIELD_TOKENS = 2
"""What a field of an f-string counts beyond its own tokens: it is parsed as an expression of its own."""
_PREFIXES = frozenset({"", "b", "r", "f", "rb", "br"})
_PAIRS = {")": "(", "]": "[", "}": "{"}
_DEEPENING = frozenset(
    {"and", "or", "not", "if", "else", "in", "is", "for", "await", "yield", "async", "from", "lambda"}
)


@dataclass(frozen=True, slots=True)
class Scan:
    """The result of the lexical check: the first reason to refuse the source, and how many tokens it has."""

    found: tuple[Diagnostic, ...]
    tokens: int
    """Names, numbers, texts, signs, and ends of lines that are not empty."""


class _Stop(Exception):
    def __init__(self, diagnostic: Diagnostic) -> None:
        super().__init__()
        self.diagnostic = diagnostic


class _Level:
    """One bracket level: operators in the current segment, and the deepest that lies under it.

    The commas and the colon of a lambda end no segment: its body nests in it.
    """

    __slots__ = ("bracket", "deepest", "inner", "lambdas", "operators")

    def __init__(self, bracket: str) -> None:
        self.bracket = bracket
        self.operators = self.inner = self.deepest = self.lambdas = 0

    def end_segment(self) -> None:
        self.deepest = max(self.deepest, self.operators + self.inner)
        self.operators = self.inner = 0


class _Scanner:
    def __init__(self, source: str, reals: bool) -> None:
        self.source = source
        self.reals = reals
        self.position = 0
        self.levels = [_Level("")]
        self.indents = [0]
        self.elifs = [0]
        self.line_start = True
        self.tokens = 0

    def stop(self, at: int, rule: str, reason: str, instead: str) -> _Stop:
        line = self.source.count("\n", 0, at) + 1
        column = at - (self.source.rfind("\n", 0, at) + 1) + 1
        return _Stop(Diagnostic(rule, line, column, reason, instead))

    def run(self) -> None:
        """Scan the whole source; raise _Stop at the first thing that is refused."""
        bad = _CONTROL.search(self.source)
        if bad is not None:
            raise self._control(bad)
        while self.position < len(self.source):
            match = _TOKEN.match(self.source, self.position)
            if match is None:
                raise self._unknown()
            kind = match.lastgroup or ""
            if kind not in _LAYOUT:
                self._count(1)
            if self.line_start and kind not in ("space", "comment", "newline"):
                self._indentation(match.start(), match.group())
            getattr(self, "_on_" + ("string" if match["quote"] else kind))(match)

    def _count(self, tokens: int) -> None:
        self.tokens += tokens
        if self.tokens > SOURCE_TOKENS_MAX:
            reason = f"a source has at most {SOURCE_TOKENS_MAX} names, numbers, texts, signs and lines"
            raise self.stop(self.position, "TOO_MANY_TOKENS", reason, "several contracts, or state")

    def _control(self, bad: re.Match[str]) -> _Stop:
        code = ord(bad.group())
        if bad.group() == "\t":
            return self.stop(
                bad.start(), "TAB", "tab character", "indent with spaces; write \\t inside a string"
            )
        if bad.group() == "\r":
            return self.stop(
                bad.start(), "LINE_ENDING", "carriage return", "save the file with LF line endings"
            )
        return self.stop(
            bad.start(),
            "CONTROL_CHARACTER",
            f"control character U+{code:04X}",
            f"the escape \\u{code:04x} in a string",
        )

    def _unknown(self) -> _Stop:
        found = self.source[self.position]
        if ord(found) > 126:
            reason = f"character U+{ord(found):04X} outside a string or comment"
            return self.stop(self.position, "NON_ASCII_NAME", reason, "names of ASCII letters, digits and _")
        instead = "nothing here, or the character inside a string"
        return self.stop(self.position, "SYNTAX", f"{found!r} has no meaning here", instead)

    def _indentation(self, at: int, first: str) -> None:
        self.line_start = False
        width = at - (self.source.rfind("\n", 0, at) + 1)
        while width < self.indents[-1]:
            self.indents.pop()
            self.elifs.pop()
        if width > self.indents[-1]:
            self.indents.append(width)
            self.elifs.append(0)
        if len(self.indents) > INDENT_DEPTH_MAX:
            reason = f"blocks nested deeper than {INDENT_DEPTH_MAX}"
            raise self.stop(at, "TOO_DEEP", reason, "move inner blocks into functions")
        self.elifs[-1] = self.elifs[-1] + 1 if first == "elif" else self.elifs[-1] if first == "else" else 0
        if self.elifs[-1] > ELIF_MAX:
            raise self.stop(
                at, "TOO_DEEP", f"more than {ELIF_MAX} elif in a chain", "a dict from case to value"
            )

    def _on_space(self, match: re.Match[str]) -> None:
        self.position = match.end()

    def _on_comment(self, match: re.Match[str]) -> None:
        self.position = match.end()

    def _on_newline(self, match: re.Match[str]) -> None:
        self.position = match.end()
        if len(self.levels) == 1:
            if not self.line_start:
                self._count(1)
            self.levels[0] = _Level("")
            self.line_start = True

    def _on_name(self, match: re.Match[str]) -> None:
        name = match.group()
        if name.startswith("__"):
            raise self.stop(
                match.start(),
                "UNDERSCORE_NAME",
                f"{name[:40]!r} starts with two underscores",
                "a name that starts with a letter, or with one _",
            )
        if len(name) > NAME_LENGTH_MAX:
            raise self.stop(
                match.start(),
                "LONG_NAME",
                f"a name of {len(name)} characters, at most {NAME_LENGTH_MAX}",
                "a shorter name",
            )
        self.position = match.end()
        if name == "lambda":
            self.levels[-1].lambdas += 1
        if name in _DEEPENING:
            self._deepen(match.start())

    def _on_operator(self, match: re.Match[str]) -> None:
        self.position = match.end()
        self._deepen(match.start())

    def _on_separator(self, match: re.Match[str]) -> None:
        self.position = match.end()
        level = self.levels[-1]
        if not level.lambdas:
            level.end_segment()
        elif match.group() == ":":
            level.lambdas -= 1

    def _on_open(self, match: re.Match[str]) -> None:
        if len(self.levels) > BRACKET_DEPTH_MAX:
            reason = f"brackets nested deeper than {BRACKET_DEPTH_MAX}"
            raise self.stop(
                match.start(), "TOO_DEEP", reason, "name the inner parts in statements of their own"
            )
        self.position = match.end()
        self._deepen(match.start())
        self.levels.append(_Level(match.group()))

    def _on_close(self, match: re.Match[str]) -> None:
        if self.levels[-1].bracket != _PAIRS[match.group()]:
            reason, instead = (
                f"{match.group()!r} closes nothing",
                "one bracket that closes for each that opens",
            )
            raise self.stop(match.start(), "SYNTAX", reason, instead)
        self.position = match.end()
        closed = self.levels.pop()
        closed.end_segment()
        self.levels[-1].inner = max(self.levels[-1].inner, closed.deepest)
        self._bound(match.start())

    def _deepen(self, at: int) -> None:
        self.levels[-1].operators += 1
        self._bound(at)

    def _bound(self, at: int) -> None:
        level = self.levels[-1]
        if level.operators + level.inner > SEGMENT_OPERATORS_MAX:
            reason = f"more than {SEGMENT_OPERATORS_MAX} operators in one expression"
            raise self.stop(at, "TOO_LONG_EXPRESSION", reason, "several statements, or a list and a loop")

    def _on_number(self, match: re.Match[str]) -> None:
        text, at = match.group(), match.start()
        if self.reals and _REAL.fullmatch(text):
            if len(text) > _REAL_DIGITS_MAX + 1:
                reason = f"a real literal of {len(text) - 1} digits, at most {_REAL_DIGITS_MAX}"
                raise self.stop(at, "LONG_LITERAL", reason, "fewer digits, or a fraction of whole numbers")
            self.position = match.end()
            return
        if _FLOAT.fullmatch(text) and self.reals:
            instead = "digits, a point and digits, such as 0.5; 10 ** -6 for small ones"
            raise self.stop(at, "NUMBER", f"{text[:40]!r} is not a real literal of pages", instead)
        if _FLOAT.fullmatch(text):
            raise self.stop(at, "FLOAT", "float is not in the language", "integers in a smaller unit, and //")
        if text[-1] in "jJ":
            raise self.stop(at, "COMPLEX", "complex numbers are not in the language", "integers")
        if not _INTEGER.fullmatch(text):
            raise self.stop(
                at, "NUMBER", f"{text[:40]!r} is not an integer", "digits, then a space or an operator"
            )
        if len(text) > LITERAL_DIGITS_MAX:
            raise self.stop(
                at,
                "LONG_LITERAL",
                f"a literal of {len(text)} digits, at most {LITERAL_DIGITS_MAX}",
                "arithmetic on smaller numbers, such as 10 ** 80",
            )
        self.position = match.end()

    def _on_string(self, match: re.Match[str]) -> None:
        prefix, quote, at = match["prefix"].lower(), match["quote"], match.start()
        if prefix not in _PREFIXES:
            instead = 'a plain "…", b"…", r"…" or f"…"'
            raise self.stop(
                at, "STRING_PREFIX", f"string prefix {match['prefix']!r} is not in the language", instead
            )
        self.position = match.end()
        while not self.source.startswith(quote, self.position):
            self._string_part(prefix, quote, at)
        self.position += len(quote)

    def _string_part(self, prefix: str, quote: str, at: int) -> None:
        ended = self.position >= len(self.source)
        if ended or (self.source[self.position] == "\n" and len(quote) == 1):
            instead = "the same quotes at its end; triple quotes when it has several lines"
            raise self.stop(at, "SYNTAX", "this string does not end", instead)
        found = self.source[self.position]
        if found == "\\":
            self._escape(prefix)
        elif prefix == "f" and found in "{}":
            self._field(quote[0])
        elif "b" in prefix and ord(found) > 126:
            raise self.stop(
                self.position, "BYTES_LITERAL", "bytes hold ASCII characters and escapes", "\\x escapes"
            )
        else:
            self.position += 1

    def _escape(self, prefix: str) -> None:
        if "r" in prefix:
            self.position += 2
            return
        pattern = _BYTES_ESCAPE if "b" in prefix else _ESCAPE
        match = pattern.match(self.source, self.position)
        if match is None:
            reason = "this escape is not in the language"
            raise self.stop(
                self.position, "ESCAPE", reason, "\\n \\t \\r \\\\ \\' \\\" \\xHH \\uHHHH \\UHHHHHHHH"
            )
        digits = match.group()[2:]
        if match.group()[1] in "uU" and (0xD800 <= int(digits, 16) < 0xE000 or int(digits, 16) > 0x10FFFF):
            raise self.stop(
                self.position, "ESCAPE", f"{match.group()} is not a character", "a Unicode scalar value"
            )
        self.position = match.end()

    def _field(self, quote: str) -> None:
        """Scan `{expression}` or `{expression:spec}`, in the forms that every parser reads alike."""
        if self.source.startswith(("{{", "}}"), self.position):
            self.position += 2
            return
        at, depth = self.position, len(self.levels)
        if self.source[at] == "}":
            raise self._bad_field(at, "a } that closes nothing")
        self._count(_FIELD_TOKENS)
        self.position += 1
        self.levels.append(_Level("{"))
        tokens = self.tokens
        while len(self.levels) > depth:
            self._field_token(quote, len(self.levels) == depth + 1)
        if self.tokens == tokens:
            raise self._bad_field(at, "a field without an expression")

    def _field_token(self, quote: str, outermost: bool) -> None:
        match = _TOKEN.match(self.source, self.position)
        if match is None:
            raise self._bad_field(self.position, "a field that does not end")
        kind, text, at = match.lastgroup or "", match.group(), match.start()
        if match["quote"]:
            self._inner_string(quote)
        elif kind in ("newline", "comment") or "\\" in text or text in ("{", "!", ":=", ";"):
            raise self._bad_field(at, f"{text[:1]!r} inside a field")
        elif outermost and (text in _FIELD_WORDS or text == "="):
            raise self._bad_field(at, f"{text!r} in a field, outside of brackets")
        elif outermost and text == ":":
            self._spec(at)
        elif outermost and kind == "close":
            if text != "}":
                raise self._bad_field(at, f"{text!r} closes nothing")
            self._on_close(match)
        else:
            self._count(kind != "space")
            getattr(self, "_on_" + kind)(match)

    def _inner_string(self, quote: str) -> None:
        match = _INNER_STRING.match(self.source, self.position)
        if match is None or quote in match.group():
            reason = "a text inside a field has other quotes than the f-string, and no escape, brace or #"
            raise self._bad_field(self.position, reason)
        self.position = match.end()
        self._count(1)

    def _spec(self, at: int) -> None:
        match = _SPEC.match(self.source, at)
        if match is None:
            raise self.stop(at, "FSTRING", "this format is not in the language", FORMATS)
        self._count(1)
        self.position = match.end() - 1
        closing = _TOKEN.match(self.source, self.position)
        assert closing is not None  # the pattern ends with it
        self._on_close(closing)

    def _bad_field(self, at: int, reason: str) -> _Stop:
        return self.stop(at, "FSTRING", reason, "assign the expression to a name and write {name}")


def precheck(source: str, *, reals: bool = False) -> Scan:
    """Check a source in one pass, in time O(length); `reals` allows real literals, as pages have."""
    if len(source) > SOURCE_BYTES_MAX or len(source.encode("utf-8", "replace")) > SOURCE_BYTES_MAX:
        reason = f"{len(source)} characters: a source has at most {SOURCE_BYTES_MAX} bytes"
        return _refused(Diagnostic("SOURCE_TOO_LONG", 1, 1, reason, "several contracts"))
    try:
        source.encode()
    except UnicodeEncodeError as error:
        line = source.count("\n", 0, error.start) + 1
        return _refused(Diagnostic("CONTROL_CHARACTER", line, 1, "a lone surrogate", "well-formed UTF-8"))
    scanner = _Scanner(source, reals)
    try:
        scanner.run()
    except _Stop as stop:
        return Scan((stop.diagnostic,), scanner.tokens)
    return Scan((), scanner.tokens)


def _refused(diagnostic: Diagnostic) -> Scan:
    return Scan((diagnostic,), 0)
