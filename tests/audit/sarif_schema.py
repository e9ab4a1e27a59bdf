"""The part of the SARIF 2.1.0 format that the audit writes, as a JSON Schema that allows nothing else.

Written after the text of the standard (OASIS, SARIF Version 2.1.0 plus errata 01): sections 3.13 (log), 3.14 (run),
3.18 and 3.19 (tool), 3.27 (result), 3.28 to 3.33 (locations), 3.35 (suppression) and 3.49 (rule).
"""

from __future__ import annotations

from typing import Any


def thing(required: list[str], **properties: Any) -> dict[str, Any]:
    """Return the schema of an object that has these properties and no others."""
    return {"type": "object", "required": required, "properties": properties, "additionalProperties": False}


def listing(of: dict[str, Any], *, at_least: int = 0) -> dict[str, Any]:
    return {"type": "array", "items": of, "minItems": at_least}


TEXT = {"type": "string", "minLength": 1}
LEVEL = {"enum": ["none", "note", "warning", "error"]}
MESSAGE = thing(["text"], text=TEXT)
RULE = thing(
    ["id"],
    id=TEXT,
    shortDescription=MESSAGE,
    fullDescription=MESSAGE,
    help=MESSAGE,
    defaultConfiguration=thing([], level=LEVEL),
    properties=thing([], tags={**listing(TEXT), "uniqueItems": True}),
)
LOCATION = thing(
    [],
    physicalLocation=thing(
        ["artifactLocation"],
        artifactLocation=thing(
            ["uri"], uri={"type": "string", "format": "uri-reference", "pattern": r"^[^\\ ]+$"}, uriBaseId=TEXT
        ),
        region=thing(["startLine"], startLine={"type": "integer", "minimum": 1}),
    ),
    logicalLocations=listing(thing([], fullyQualifiedName=TEXT), at_least=1),
)
RESULT = thing(
    ["message", "ruleId"],
    ruleId=TEXT,
    ruleIndex={"type": "integer", "minimum": 0},
    level=LEVEL,
    message=MESSAGE,
    locations=listing(LOCATION, at_least=1),
    partialFingerprints={"type": "object", "additionalProperties": TEXT, "minProperties": 1},
    suppressions=listing(thing(["kind"], kind={"enum": ["inSource", "external"]}, justification=TEXT)),
)
RUN = thing(
    ["tool"],
    tool=thing(["driver"], driver=thing(["name"], name=TEXT, semanticVersion=TEXT, rules=listing(RULE))),
    columnKind={"enum": ["utf16CodeUnits", "unicodeCodePoints"]},
    results=listing(RESULT),
)
LOG = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    **thing(["version", "runs"], **{"$schema": TEXT}, version={"const": "2.1.0"}, runs=listing(RUN)),
}
