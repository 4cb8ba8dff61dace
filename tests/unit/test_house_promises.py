"""The list of promises is true: each test that it names is there, and each promise names one."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "promises.md"
NAMED = re.compile(r"`([\w/]+\.py)::(\w+)`")
OURS = ("component/promises/test_*.py", "embedded/test_promises_*.py")


def rows() -> dict[str, list[tuple[str, str]]]:
    """Each promise with the tests that it names."""
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    cells = [line.strip("|").split(" | ") for line in lines]
    sentences = [cell for cell in cells if cell[0].strip() not in ("What is promised", "---")]
    return {" | ".join(cell[:-1]).strip(): NAMED.findall(cell[-1]) for cell in sentences}


@cache
def functions_in(file: Path) -> frozenset[str]:
    nodes = ast.parse(file.read_text()).body
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(
        node.name for node in nodes if isinstance(node, functions) and node.name.startswith("test_")
    )


ROWS = rows()


def test_the_list_is_read() -> None:
    assert len(ROWS) > 100


@pytest.mark.parametrize("sentence", ROWS)
def test_each_promise_names_tests_that_are_there(sentence: str) -> None:
    named = ROWS[sentence]
    assert named, f"{PAGE.name}: name a test for «{sentence}», or take the sentence out."
    files = {file: ROOT / "tests" / file for file, _ in named}
    assert [file for file, path in files.items() if not path.is_file()] == []
    assert [
        f"{file}::{name}" for file, name in named if name not in functions_in(files[file])
    ] == []


def test_each_test_that_was_written_for_a_promise_is_named() -> None:
    named = {test for tests in ROWS.values() for test in tests}
    written = {
        (str(file.relative_to(ROOT / "tests")), name)
        for pattern in OURS
        for file in (ROOT / "tests").glob(pattern)
        for name in functions_in(file)
    }
    assert written
    assert sorted(written - named) == []
