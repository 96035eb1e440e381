"""TOML configuration files read into pydantic models; every error names file, key, value and range."""

from __future__ import annotations

import ipaddress
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

import pydantic

from chain.primitives.errors import ConfigError
from chain.primitives.files import file_remedy, read_bounded

FILE_BYTES_MAX = 1_048_576
PORT_MAX = 65_535
ID_WORDS = "1 to 64 of a-z, 0-9, '.', '_' and '-', the first a letter or a digit"
M = TypeVar("M", bound=pydantic.BaseModel)
LENGTHS = {
    "too_long": (False, "items"),
    "too_short": (True, "items"),
    "string_too_long": (False, "characters"),
    "string_too_short": (True, "characters"),
}
"""Fault of a length that pydantic finds -> whether the least is missed, and what is counted."""
WORDS = {
    "extra_forbidden": "unknown key; remove it or correct its spelling",
    "missing": "required, but not given",
    "literal_error": "expected {expected}",
    "string_type": "expected a text",
    "bool_type": "expected true or false",
    "list_type": "expected a list",
    "dict_type": "expected a table of names and values",
    "model_type": "expected a table of names and values",
}
"""Fault that pydantic finds -> what is said of it."""


class Section(pydantic.BaseModel):
    """Base of every table: unknown keys are errors and values are never converted."""

    model_config = pydantic.ConfigDict(extra="forbid", strict=True, frozen=True)


def check_address(text: str) -> str:
    """Return "host:port" unchanged; raise ValueError saying what is expected.

    An IPv6 address stands in brackets: without them nothing tells its last group from a port.
    """
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > PORT_MAX:
        raise ValueError(f'an address "host:port" with a port in 0..{PORT_MAX}')
    if "[" in host or "]" in host:
        if not (host[0] == "[" and host[-1] == "]" and _is_ipv6(host[1:-1])):
            raise ValueError('an address "host:port"; brackets are for IPv6, as in "[::1]:8545"')
    elif ":" in host:
        example = f"[{host}]:{port}" if _is_ipv6(host) else "[::1]:8545"
        raise ValueError(f'an address "host:port", an IPv6 address in brackets: "{example}"')
    return text


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


Address = Annotated[str, pydantic.AfterValidator(check_address)]


def split_address(address: str) -> tuple[str, int]:
    """Return host and port of a checked "host:port"."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def is_loopback(host: str) -> bool:
    """Tell whether a host is this one, which nobody else reaches by that address; a name is not, but one."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def join_address(host: str, port: int) -> str:
    """Return "host:port" as `check_address` takes it: an IPv6 address gets its brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def dialled(listen: str) -> str:
    """Return the address at which this host dials what listens here: where all do, its loopback one does."""
    host, port = split_address(listen)
    try:
        number = ipaddress.ip_address(host)
    except ValueError:
        return listen
    if not number.is_unspecified:
        return listen
    return join_address("127.0.0.1" if number.version == 4 else "::1", port)


def load_toml(path: Path, model: type[M]) -> M:
    """Read and validate a TOML file; raise ConfigError listing every fault."""
    try:
        raw = read_bounded(path, FILE_BYTES_MAX)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); {file_remedy(error)}") from None
    return parse_toml(str(path), raw, model)


def parse_toml(where: str, raw: bytes, model: type[M]) -> M:
    """Validate the bytes of a TOML file; raise ConfigError listing every fault."""
    if len(raw) > FILE_BYTES_MAX:
        raise ConfigError(f"{where}: {len(raw)} bytes, at most {FILE_BYTES_MAX}")
    try:
        content = tomllib.loads(raw.decode())
    except (ValueError, RecursionError) as error:  # not UTF-8, not TOML, an endless number, deep nesting
        raise ConfigError(f"{where}: not TOML: {error}") from None
    return validate(where, content, model)


def validate(where: str, content: dict[str, Any], model: type[M]) -> M:
    """Validate a parsed document; raise ConfigError with a line `where: key = value: allowed` per fault."""
    try:
        return model.model_validate(content)
    except pydantic.ValidationError as error:
        faults = [_fault(item) for item in error.errors(include_url=False)]
        raise ConfigError("\n".join(f"{where}: {fault}" for fault in faults)) from None


def _fault(item: Any) -> str:
    key = ".".join(str(part) for part in item["loc"])
    kind = item["type"]
    if kind in ("extra_forbidden", "missing"):
        return f"{key}: {allowed(item)}"
    if kind == "value_error" and isinstance(item["input"], dict):  # settings that do not go together
        said = allowed(item).removeprefix("expected ")
        return f"{key}.{said}" if key else said
    return f"{key} = {shown(item['input'])}: {allowed(item)}"


def allowed(item: Any) -> str:
    """Return what one fault that pydantic found says of the values that are allowed, in our words."""
    message, kind, bounds = str(item["msg"]), str(item["type"]), item.get("ctx", {})
    if kind == "value_error":
        return f"expected {message.removeprefix('Value error, ')}"
    if kind in LENGTHS:
        least, unit = LENGTHS[kind]
        bound = bounds["min_length" if least else "max_length"]
        return f"{len(item['input']):,} {unit}, {'at least' if least else 'at most'} {bound:,}"
    if kind in WORDS:
        return WORDS[kind].format(**bounds)
    return f"{message[0].lower()}{message[1:]}"


def shown(value: Any) -> str:
    """Return a value as its fault names it, bounded however large it is: of lists and tables their size."""
    if isinstance(value, list | tuple | dict):
        return f"[{len(value):,} items]"
    text = repr(value[:61] if isinstance(value, str | bytes) else value)
    return text if len(text) <= 60 else text[:57] + "..."


def matching(pattern: str, words: str) -> pydantic.AfterValidator:
    """Annotate a str with the pattern of the whole of it; the error says in words what is expected."""
    expected = re.compile(pattern)

    def check(text: str) -> str:
        if expected.fullmatch(text) is None:
            raise ValueError(words)
        return text

    return pydantic.AfterValidator(check)


def check_own_folder(
    where: Path, setting: str, folder: Path, *, keys: Mapping[str, Path], files: Mapping[str, Path]
) -> None:
    """Raise ConfigError where a folder of data would take with it what must outlive it.

    An operator removes such a folder whole, and is told to. So it neither is nor holds the folder of the
    configuration, of `keys` or of other `files` (setting -> path); nor does it lie in a folder of keys, which
    is backed up whole, unless that holds the configuration, too.
    """
    base, chosen = where.resolve().parent, folder.resolve()
    for name, path in {"this configuration": where, **keys, **files}.items():
        kept = path.resolve().parent
        if kept.is_relative_to(chosen):
            how = "is" if kept == chosen else "holds"
        elif name in keys and chosen.is_relative_to(kept) and not base.is_relative_to(kept):
            how = "lies in"
        else:
            continue
        raise ConfigError(
            f"{where}: {setting} = {str(folder)!r}: {how} the folder of {name}, {kept}, which stays "
            f'when data is removed; name a folder that holds nothing else, such as "data"'
        )


def within(low: int, high: int, unit: str) -> pydantic.WrapValidator:
    """Annotate an int with its inclusive range; the error states the whole range and the unit."""

    def check(value: Any, to_int: pydantic.ValidatorFunctionWrapHandler) -> int:
        try:
            number: int = to_int(value)
        except pydantic.ValidationError:
            example = f"a whole number without quotes, such as {max(low, 1)}"
            raise ValueError(f"{unit} in {low}..{high}: {example}") from None
        if not low <= number <= high:
            raise ValueError(f"{unit} in {low}..{high}")
        return number

    return pydantic.WrapValidator(
        check, json_schema_input_type=Annotated[int, pydantic.Field(ge=low, le=high)]
    )
