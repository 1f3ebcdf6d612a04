"""The conditions of a summary as JUnit XML: each a test, for the forges that list tests."""

from __future__ import annotations

from xml.etree import ElementTree

from trk.ci.escaping import xml_text
from trk.ci.model import Summary
from trk.errors import UsageError
from trk.pictures.texts import labels, told
from trk.query.reports import CheckedCondition, CheckReport


def text(found: Summary) -> str:
    """One suite for each run. Raises UsageError when there are no conditions."""
    if not found.checks:
        raise UsageError("JUnit's XML holds conditions, and there are none", hint="trk summary --check 'f1 >= 0.85'")
    every = [one for report in found.checks for one in report.checks]
    root = ElementTree.Element("testsuites", _counts("trk check", every))
    names = labels(found.runs)
    for report in found.checks:
        root.append(_suite(report, names[report.run.run_id]))
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _suite(report: CheckReport, name: str) -> ElementTree.Element:
    suite = ElementTree.Element("testsuite", _counts(name, list(report.checks)))
    for one in report.checks:
        case = ElementTree.SubElement(
            suite,
            "testcase",
            name=xml_text(one.expression),
            classname=xml_text(f"trk.{report.run.experiment}"),
            time="0",
        )
        if not one.passed:
            failure = ElementTree.SubElement(case, "failure", message=xml_text(one.reason or "it does not hold"))
            failure.text = xml_text(f"left: {_side(one.left)}, right: {_side(one.right)}, run {report.run.run_id}")
        elif one.reason is not None:
            ElementTree.SubElement(case, "system-out").text = xml_text(one.reason)
    return suite


def _counts(name: str, checks: list[CheckedCondition]) -> dict[str, str]:
    failed = sum(not one.passed for one in checks)
    return {
        "name": xml_text(name), "tests": str(len(checks)), "failures": str(failed), "errors": "0", "skipped": "0",
        "time": "0",
    }  # fmt: skip


def _side(value: float | str | None) -> str:
    """A finite number as the shortest text that is exactly it."""
    if isinstance(value, str):
        return value
    return told(value) if value is None or value - value != 0 else repr(value)
