"""A validator for JUnit XML, by the rules of the schema that Ant's JUnit report is known by.

Element order, required attributes and their types: a testsuite has properties, testcases,
system-out and system-err in this order; a testcase holds at most one of skipped, error, failure.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

_TOKEN = r"(?s)\S(.*\S)?"
_DECIMAL = r"[+-]?(\d+(\.\d*)?|\.\d+)"
_COUNT = r"\d+"
_WHEN = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d"
_SUITE = {
    "name": _TOKEN,
    "timestamp": _WHEN,
    "hostname": _TOKEN,
    "tests": _COUNT,
    "failures": _COUNT,
    "errors": _COUNT,
    "time": _DECIMAL,
    "package": _TOKEN,
    "id": _COUNT,
}
_CASE = {"name": _TOKEN, "classname": _TOKEN, "time": _DECIMAL}


def faults(text: str) -> list[str]:
    """Return what in the document breaks the schema, nothing where it is valid."""
    root = ET.fromstring(text)
    if root.tag != "testsuites" or root.attrib:
        return [f"the root is {root.tag} {root.attrib}"]
    found: list[str] = []
    for number, suite in enumerate(root):
        found += _attributes(suite, "testsuite", _SUITE, {"skipped": _COUNT})
        if suite.get("id") != str(number):
            found.append(f"suite {number} has id {suite.get('id')}")
        tags = " ".join(child.tag for child in suite)
        if not re.fullmatch(r"properties( testcase)* system-out system-err", tags):
            found.append(f"children: {tags}")
        for case in suite.iter("testcase"):
            found += _case(case)
        for attribute, tag in (
            ("failures", "failure"),
            ("errors", "error"),
            ("skipped", "skipped"),
        ):
            count = sum(1 for _ in suite.iter(tag))
            if int(suite.get(attribute, "0")) != count:
                found.append(f"{attribute} is {suite.get(attribute)}, but there are {count}")
        if int(suite.get("tests", "-1")) != sum(1 for _ in suite.iter("testcase")):
            found.append("tests is not the number of testcases")
    return found


def _case(case: ET.Element) -> list[str]:
    found = _attributes(case, "testcase", _CASE, {})
    if len(case) > 1:
        found.append(f"{case.get('name')} has {len(case)} children")
    for child in case:
        if child.tag in ("error", "failure"):
            found += _attributes(child, child.tag, {"type": r"(?s).*"}, {"message": r"(?s).*"})
        elif child.tag != "skipped":
            found.append(f"{case.get('name')} holds {child.tag}")
    return found


def _attributes(
    element: ET.Element, tag: str, required: dict[str, str], optional: dict[str, str]
) -> list[str]:
    found = [] if element.tag == tag else [f"{element.tag} stands where {tag} must"]
    found += [f"{tag} lacks {name}" for name in required if name not in element.attrib]
    for name, value in element.attrib.items():
        pattern = {**required, **optional}.get(name)
        if pattern is None:
            found.append(f"{tag} may not have {name}")
        elif not re.fullmatch(pattern, value):
            found.append(f"{tag} {name}={value!r}")
    return found
