"""YAML with the line and column of every value, and advice where it does not parse.

A key is always the text that is written, so `on:` is a field's name here.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from agentworkflow.workflow.findings import Fault, Finding, Path, path_text
from agentworkflow.workflow.scalars import MERGE_TAG, Loader, ScalarError, read_scalar

_MAX_VALUES: Final = 100_000


@dataclass(frozen=True, slots=True)
class Document:
    """One document of a file: its value, and where each path of it stands."""

    value: Any
    _values: dict[Path, Node] = field(repr=False)
    _keys: dict[Path, Node] = field(repr=False)

    def locate(self, fault: Fault) -> tuple[int, int]:
        """Line and column of an error, from 1: its place, or that of what should hold it."""
        path = fault.path
        if fault.at_key and path in self._keys:
            mark = self._keys[path].start_mark
            return mark.line + 1, mark.column + 1
        while path and path not in self._values:
            path = path[:-1]
        node = self._values[path]
        mark = node.start_mark
        exact = fault.column and path == fault.path
        return mark.line + 1, mark.column + 1 + (_inside(node, fault.column or 1) if exact else 0)


def read_documents(text: str, file: str) -> tuple[list[Document], list[Finding]]:
    """The documents of a YAML text, empty ones left out, and what does not parse in it."""
    documents: list[Document] = []
    findings: list[Finding] = []
    try:
        for root in yaml.compose_all(text, Loader=Loader):
            reading = _Reading()
            value = reading.read(root, ())
            document = Document(value, reading.values, reading.keys)
            findings += [_found(file, node, path, words) for node, path, *words in reading.faults]
            if value is not None:
                documents.append(document)
    except yaml.MarkedYAMLError as error:
        findings.append(_unparsed(file, text, error))
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        column = error.position - (text.rfind("\n", 0, error.position) + 1) + 1
        message = f"the character {chr(error.character)!r} is not allowed in YAML"
        findings.append(Finding(file, line, column, "", message, "remove it"))
    except RecursionError:
        findings.append(Finding(file, 1, 1, "", "the file is nested too deep", "flatten it"))
    return documents, findings


class _Reading:
    """One walk over a document's nodes."""

    def __init__(self) -> None:
        self.values: dict[Path, Node] = {}
        self.keys: dict[Path, Node] = {}
        self.faults: list[tuple[Node, Path, str, str]] = []
        self._open: list[Node] = []
        self._count = 0

    def read(self, node: Node, path: Path) -> Any:
        self.values[path] = node
        self._count += 1
        if self._count > _MAX_VALUES:
            return self._refuse_size(node, path)
        if isinstance(node, ScalarNode):
            return self._scalar(node, path)
        if any(node is each for each in self._open):
            return self._fault(node, path, "an alias holds itself", "write the value out")
        self._open.append(node)
        try:
            if isinstance(node, SequenceNode):
                return [self.read(each, (*path, i)) for i, each in enumerate(node.value)]
            return self._mapping(node, path)
        finally:
            self._open.pop()

    def _mapping(self, node: Node, path: Path) -> dict[str, Any]:
        read: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key, value in node.value:
            if key.tag == MERGE_TAG:
                merged = {**self._merge(value, path), **merged}
                continue
            if not isinstance(key, ScalarNode):
                self._fault(key, path, "a key must be a text", "write name: value")
                continue
            name = key.value
            if name in read:
                first = self.keys[*path, name].start_mark.line + 1
                self._fault(
                    key,
                    (*path, name),
                    f'"{name}" is written twice, first on line {first}',
                    "keep one of them",
                )
                continue
            self.keys[*path, name] = key
            read[name] = self.read(value, (*path, name))
        return {**merged, **read}

    def _merge(self, node: Node, path: Path) -> dict[str, Any]:
        sources = node.value if isinstance(node, SequenceNode) else [node]
        merged: dict[str, Any] = {}
        for source in sources:
            if not isinstance(source, MappingNode):
                self._fault(source, path, "<< takes an object", "name an anchor of one: <<: *name")
                continue
            values, keys = dict(self.values), dict(self.keys)
            found = self.read(source, path)
            self.values |= values
            self.keys |= keys
            merged = {**found, **merged}
        return merged

    def _scalar(self, node: ScalarNode, path: Path) -> Any:
        try:
            return read_scalar(node)
        except ScalarError as error:
            return self._fault(node, path, error.message, error.hint)

    def _fault(self, node: Node, path: Path, message: str, hint: str) -> None:
        self.faults.append((node, path, message, hint))

    def _refuse_size(self, node: Node, path: Path) -> None:
        if self._count == _MAX_VALUES + 1:
            self._fault(node, path, f"the document has more than {_MAX_VALUES} values", "split it")


def _inside(node: Node, column: int) -> int:
    """Columns from a string's start to a position in it; 0 where the text is not as written."""
    if not isinstance(node, ScalarNode) or node.start_mark.line != node.end_mark.line:
        return 0
    width = node.end_mark.column - node.start_mark.column
    quotes = 1 if node.style in ("'", '"') else 0
    return quotes + column - 1 if width == len(node.value) + 2 * quotes else 0


def _found(file: str, node: Node, path: Path, words: list[str]) -> Finding:
    mark = node.start_mark
    return Finding(file, mark.line + 1, mark.column + 1, path_text(path), *words)


def _unparsed(file: str, text: str, error: yaml.MarkedYAMLError) -> Finding:
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line, mark.column) if mark else (0, 0)
    lines = text.splitlines()
    written = lines[line] if line < len(lines) else ""
    problem = error.problem or "it is broken off"
    context = f" ({error.context})" if error.context else ""
    message = f"the YAML does not parse: {problem}{context}"
    return Finding(file, line + 1, column + 1, "", message, next(_advice(problem, written)))


def _advice(problem: str, line: str) -> Iterator[str]:
    if "\\t" in problem:
        yield "indent with spaces, not with tabs"
    if "${" in line:
        yield 'put the expression in quotes: "${…}"'
    if "mapping values are not allowed" in problem:
        yield "put a text with a colon in quotes, or correct the indentation"
    if "block end" in problem or "block mapping" in problem:
        yield "correct the indentation, so that fields of one object start in one column"
    if "expected ','" in problem:
        yield "close the bracket or quote, or add the comma"
    if "expected ':'" in problem:
        yield "write name: value"
    if "end of stream" in problem or "unexpected end" in problem:
        yield "close the quote or bracket that was opened"
    if "undefined alias" in problem:
        yield "put a text that starts with * in quotes, or define the anchor with & first"
    if "cannot start any token" in problem:
        yield "put the text in quotes"
    yield "correct the line"
