"""Holds values to the JSON Schemas of an OpenRPC document, and makes calls of it that nobody should send.

The check knows the keywords that the document uses and refuses any other, so that none is passed over.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from typing import Any

KNOWN = {
    "$ref", "anyOf", "enum", "const", "type", "properties", "required", "additionalProperties", "items",
    "pattern",
    "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "default",
}  # fmt: skip
KINDS: dict[str, Any] = {
    "string": str, "integer": int, "number": (int, float), "boolean": bool, "object": dict, "array": list,
    "null": type(None),
}  # fmt: skip


def faults(document: Any, schema: Any, value: Any, where: str = "$") -> Iterator[str]:
    """Yield how a value is not as a schema of a document says."""
    assert set(schema) <= KNOWN, f"{where}: this check does not know {set(schema) - KNOWN}"
    if "$ref" in schema:
        yield from faults(document, resolved(document, schema["$ref"]), value, where)
        return
    if "anyOf" in schema:
        told = [list(faults(document, one, value, where)) for one in schema["anyOf"]]
        if all(told):
            yield f"{where}: none of {len(told)}: {min(told, key=len)[0]}"
    if "enum" in schema and value not in schema["enum"]:
        yield f"{where}: {value!r} is none of {schema['enum']}"
    kind = schema.get("type")
    if kind and (not isinstance(value, KINDS[kind]) or (isinstance(value, bool) and kind != "boolean")):
        yield f"{where}: {type(value).__name__}, not {kind}"
        return
    if isinstance(value, str):
        if "pattern" in schema and re.search(schema["pattern"], value) is None:
            yield f"{where}: {value[:80]!r} is not {schema['pattern']}"
        if not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value)):
            yield f"{where}: {len(value)} characters"
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        if not schema.get("minimum", value) <= value <= schema.get("maximum", value):
            yield f"{where}: {value}"
    elif isinstance(value, list):
        if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
            yield f"{where}: {len(value)} items"
        for number, item in enumerate(value):
            yield from faults(document, schema.get("items", {}), item, f"{where}[{number}]")
    elif isinstance(value, dict):
        yield from _members(document, schema, value, where)


def _members(document: Any, schema: Any, value: Any, where: str) -> Iterator[str]:
    named, others = schema.get("properties", {}), schema.get("additionalProperties", True)
    yield from (f"{where}: lacks {name}" for name in schema.get("required", ()) if name not in value)
    for name, item in value.items():
        if name in named or others not in (True, False):
            yield from faults(document, named.get(name, others), item, f"{where}.{name}")
        elif others is False:
            yield f"{where}: has {name}, which is not stated"


def resolved(document: Any, path: str) -> Any:
    """Return what a reference within the document points to."""
    for part in path.removeprefix("#/").split("/"):
        document = document[part]
    return document


def answer_faults(document: Any, call: Any, answer: Any) -> list[str]:
    """Return how an answer is none that the document states for a call: its frame, result or error."""
    if answer.get("jsonrpc") != "2.0" or ("result" in answer) == ("error" in answer):
        return [f"no answer of JSON-RPC: {str(answer)[:200]}"]
    method = next((item for item in document["methods"] if item["name"] == call.get("method")), None)
    if "result" in answer:
        assert method is not None
        return list(faults(document, method["result"]["schema"], answer["result"]))
    error = answer["error"]
    code = str((error.get("data") or {}).get("code", error["code"]))
    stated = (
        method["errors"]
        if method
        else [{"$ref": f"#/components/errors/{n}"} for n in (-32600, -32601, "limit")]
    )
    if error["code"] == -32603 or f"#/components/errors/{code}" not in [item["$ref"] for item in stated]:
        return [f"{call.get('method')}: {error}, which the document does not state"]
    return []


class HostileCalls:
    """Calls drawn from a document: some as it says, most of them wrong in one way or several."""

    def __init__(self, document: Any, seed: int) -> None:
        self._methods, self._draw = document["methods"], random.Random(seed)

    def __next__(self) -> dict[str, Any]:
        draw, method = self._draw, self._draw.choice(self._methods)
        params: dict[str, Any] = {}
        for item in method["params"]:
            if item["required"] or draw.random() < 0.4:
                right = draw.random() < 0.6
                params[item["name"]] = self.fitting(item["schema"]) if right else self.wrong()
        if draw.random() < 0.1:
            params[draw.choice(["", "extra", "__class__", "x" * 300])] = self.wrong()
        if params and draw.random() < 0.1:
            del params[draw.choice(list(params))]
        name = method["name"] if draw.random() < 0.97 else draw.choice(["none", "", "__init__", "x" * 500])
        given: Any = params if draw.random() < 0.8 else list(params.values())
        if draw.random() < 0.03:
            given = self.wrong()
        return {"jsonrpc": "2.0", "id": draw.randrange(2**53), "method": name, "params": given}

    def fitting(self, schema: Any) -> Any:
        """Return a value as a schema says, often at a bound of it."""
        draw = self._draw
        if "anyOf" in schema:
            return self.fitting(draw.choice(schema["anyOf"]))
        if "enum" in schema:
            return draw.choice(schema["enum"])
        kind = schema.get("type")
        if kind == "integer":
            low, high = schema.get("minimum", 0), schema.get("maximum", 2**64 - 1)
            return draw.choice([low, high, min(high, low + 1), draw.randint(low, min(high, low + 300))])
        if kind == "string":
            return self._text(schema)
        if kind == "array":
            most = min(schema.get("maxItems", 4), 4)
            return [
                self.fitting(schema["items"]) for _ in range(draw.randint(schema.get("minItems", 0), most))
            ]
        return {"boolean": draw.random() < 0.5, "null": None}.get(
            kind, draw.choice([{}, {"a": 1}, "x", 7, ["x", 1]])
        )

    def _text(self, schema: Any) -> str:
        draw, pattern = self._draw, schema.get("pattern", "")
        exact = re.fullmatch(r"\^\[0-9a-f\]\{(\d+)\}\$", pattern)
        if exact or pattern:
            digits = int(exact[1]) if exact else 2 * draw.choice([0, 1, 16, 32, 200])
            return "".join(draw.choice("0123456789abcdef") for _ in range(digits))
        known = ["orgs", "toy", "get", "put", "org:a", "datasets", "lifecycle", "sources", "Announced"]
        return draw.choice([*known, "", "x" * min(schema.get("maxLength", 400), 400)])

    def wrong(self) -> Any:
        """Return what hardly anything takes."""
        deep: Any = []
        for _ in range(200):
            deep = [deep]
        return self._draw.choice(
            [
                None, True, -1, 0, 2**53, 2**64, 2**64 - 1, -(2**63), 10**400, 0.5, -0.0, 1e308, "", "\0",
                "\ud800",
                "\u202e", "é" * 300, "x" * 5_000, "0" * 64, "G" * 64, "AB", "abc", "../../etc/passwd",
                "__class__",
                "'; drop", "{}", [], [[]], [None], {}, {"$bytes": "zz"}, {"$bytes": "00", "x": 1},
                {"$bytes": 1},
                {"": {"": {}}}, deep, ["a"] * 2_000, {str(n): n for n in range(500)},
            ]
        )  # fmt: skip


def text_of(document: Any) -> str:
    """Return a document as its file has it."""
    return json.dumps(document, indent=1) + "\n"
