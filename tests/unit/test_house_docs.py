"""The documents are true: their links, commands, YAML, Python and tables of expressions."""

import ast
import importlib
import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from agentworkflow.cli.app import app
from agentworkflow.events import CloudEvent, cesql
from agentworkflow.events.filters import compile_filters
from agentworkflow.workflow.expressions import Scope, compile_expression
from agentworkflow.workflow.validation import validate_text

ROOT = Path(__file__).parent.parent.parent
DOCS = sorted(
    path
    for pattern in ("*.md", "docs/*.md", "examples/*/*.md")
    for path in ROOT.glob(pattern)
    if path.name != "resource.md"  # generated, and tested with its generator
)
CLI = typer.main.get_command(app)
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
ROW = re.compile(r"^\| `(.+)` \| `(.+)` \|$", re.MULTILINE)
SOURCE_FILE = re.compile(r"`((?:services|examples|tests|bench|docs|\.ci)/[\w./-]+)`")
# What a fragment leaves out, so that the rest of it can be judged.
PLAIN_STEP = {"name": "only", "waitFor": {"signal": "go"}}


@dataclass(frozen=True)
class Block:
    """One fenced block of a document."""

    document: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.document}:{self.line}"


def blocks(*languages: str) -> list[Block]:
    return [block for block in all_blocks() if block.language in languages]


def all_blocks() -> Iterator[Block]:
    for path in DOCS:
        text = path.read_text()
        for match in FENCE.finditer(text):
            line = text[: match.start()].count("\n") + 1
            yield Block(str(path.relative_to(ROOT)), line, match[1], match[2])


@pytest.mark.parametrize("path", DOCS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    text = FENCE.sub("", path.read_text())
    local = [target for target in LINK.findall(text) if "://" not in target]
    lost = [
        target
        for target in local
        if not (path.parent / target.partition("#")[0]).exists()
        or ("#" in target and not has_heading(path, target))
    ]
    assert lost == []


def has_heading(path: Path, target: str) -> bool:
    file, _, anchor = target.partition("#")
    text = (path.parent / file if file else path).read_text()
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", text), re.MULTILINE)
    return anchor in {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in headings}


@pytest.mark.parametrize("path", DOCS, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_that_are_named_exist(path: Path) -> None:
    named = SOURCE_FILE.findall(path.read_text())
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_the_way_through_the_code_leads_past_files_that_exist() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    named = set(re.findall(r"`([\w-]+(?:/[\w-]+)+\.(?:py|lua))`", text))
    assert len(named) > 30
    below = ROOT / "services" / "agentworkflow"
    lost = [name for name in named if not (below / name).exists() and not (ROOT / name).exists()]
    assert lost == []


def command_lines(block: Block) -> Iterator[list[str]]:
    for line in block.text.replace("\\\n", " ").splitlines():
        words = shlex.split(line.removeprefix("$ "), comments=True)
        while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
            words = words[1:]  # environment variables before the command
        if words:
            yield words


@pytest.mark.parametrize("block", blocks("console", "bash", "sh"), ids=str)
def test_commands_exist_with_their_options(block: Block) -> None:
    for words in command_lines(block):
        program, arguments = Path(words[0]).name, words[1:]
        if program == "make":
            targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
            assert {word for word in arguments if "=" not in word} <= targets, words
        elif program in ("agentworkflow", "awf"):
            check_cli(arguments)
        elif program in ("python", "python3") and arguments[:1] == ["-m"]:
            if arguments[1].startswith("agentworkflow"):
                assert importlib.util.find_spec(arguments[1]) is not None, words
        else:
            assert program in {"curl", "cd", "git", "cp", "mv", "echo", "pip", "openssl"}, words


def check_cli(arguments: list[str]) -> None:
    """The command is there, and takes these options and this many arguments."""
    commands: dict[str, Any] = vars(CLI)["commands"]
    if arguments in (["--help"], ["--version"]):
        return
    name, rest = arguments[0], arguments[1:]
    assert name in commands, f"agentworkflow has no command {name}"
    options = {
        option: parameter.is_flag
        for parameter in commands[name].params
        if parameter.param_type_name == "option"
        for option in (*parameter.opts, *parameter.secondary_opts)
    }
    needed = [
        parameter
        for parameter in commands[name].params
        if parameter.param_type_name == "argument" and parameter.required
    ]
    positional = 0
    words = iter(rest)
    for word in words:
        if not word.startswith("-") or word == "-":
            positional += 1
            continue
        option, equals, _ = word.partition("=")
        if option in ("--help", "-h"):
            return
        assert option in options, f"agentworkflow {name} has no option {option}"
        if not options[option] and not equals:
            assert next(words, None) is not None, f"{option} needs a value"
    assert positional >= len(needed), f"agentworkflow {name} needs {len(needed)} arguments"


@pytest.mark.parametrize("block", blocks("yaml"), ids=str)
def test_yaml_is_a_valid_workflow_or_part_of_one(block: Block) -> None:
    found = yaml.safe_load(block.text)
    text = block.text if "apiVersion" in found else yaml.safe_dump(completed(found))
    report = validate_text(text, str(block))
    assert [str(finding) for finding in report.findings] == []


def completed(spec: dict[str, Any]) -> dict[str, Any]:
    """A resource around a part of `spec`, with the functions that it names."""
    functions = {entry["name"] for entry in spec.get("functions", [])}
    called = {
        entry["function"]
        for part in ("steps", "triggers")
        for entry in spec.get(part, [])
        if "function" in entry
    }
    alone = [entry for entry in spec.get("triggers", []) if "function" in entry]
    steps = [] if alone else [PLAIN_STEP]  # a function wired to events has no steps around it
    whole = {"functions": [], "steps": steps, **spec}
    whole["functions"] = [
        *whole["functions"],
        *({"name": name, "handler": "module:handler"} for name in sorted(called - functions)),
    ]
    return {
        "apiVersion": "agentworkflow.dev/v1alpha1",
        "kind": "AgentWorkflow",
        "metadata": {"name": "fragment"},
        "spec": whole,
    }


@pytest.mark.parametrize("block", blocks("python"), ids=str)
def test_python_compiles_and_imports_what_exists(block: Block) -> None:
    tree = ast.parse(block.text, str(block))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("agentworkflow"):
            module = importlib.import_module(node.module or "")
            for alias in node.names:
                assert hasattr(module, alias.name), f"{block}: {node.module}.{alias.name}"


@pytest.mark.parametrize("block", blocks("json"), ids=str)
def test_json_parses(block: Block) -> None:
    json.loads(block.text)


def rows(document: str, heading: str) -> list[tuple[str, str]]:
    """The two-column table of code after a heading, with `\\|` read as a bar."""
    text = (ROOT / "docs" / document).read_text().split(f"## {heading}\n")[1].split("\n## ")[0]
    table = [(a.replace(r"\|", "|"), b.replace(r"\|", "|")) for a, b in ROW.findall(text)]
    assert len(table) > 5
    return table


def first_json(document: str, heading: str) -> Any:
    text = (ROOT / "docs" / document).read_text().split(f"## {heading}\n")[1]
    return json.loads(next(match[2] for match in FENCE.finditer(text) if match[1] == "json"))


EXPRESSIONS = rows("expressions.md", "What it can do")
CESQL = rows("events-and-filters.md", "CESQL")
FILTERS = rows("events-and-filters.md", "The seven filters")


@pytest.mark.parametrize(("source", "value"), EXPRESSIONS, ids=[row[0] for row in EXPRESSIONS])
def test_an_expression_of_the_table_has_its_value(source: str, value: str) -> None:
    bindings = {"input": first_json("expressions.md", "What it can do")}
    actual = compile_expression(source, Scope()).evaluate(bindings)
    assert json.dumps(actual) == json.dumps(json.loads(value))


def event_of_the_page() -> CloudEvent:
    members = first_json("events-and-filters.md", "The event of this page")
    known = {key: members.pop(key) for key in ("id", "source", "type", "subject")}
    del members["specversion"], members["data"]
    return CloudEvent(**known, extensions=members)


@pytest.mark.parametrize(("source", "value"), CESQL, ids=[row[0] for row in CESQL])
def test_a_cesql_expression_of_the_table_has_its_value(source: str, value: str) -> None:
    actual, errors = cesql.compile(source).evaluate(event_of_the_page())
    assert (actual, list(errors)) == (json.loads(value), [])


@pytest.mark.parametrize(("source", "value"), FILTERS, ids=[row[0] for row in FILTERS])
def test_a_filter_of_the_table_matches_or_not(source: str, value: str) -> None:
    matches = compile_filters([yaml.safe_load(source)]).matches(event_of_the_page())
    assert matches == (value == "matches")
