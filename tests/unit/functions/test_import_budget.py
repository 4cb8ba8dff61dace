"""What each part of the host may import: a light front is what makes a cold start short."""

import subprocess
import sys

import pytest

import agentworkflow

HEAVY = ["pydantic", "jsonschema", "yaml", "lark", "redis", "fastapi", "starlette", "cloudevents"]


def modules_after(statement: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"{statement}\nimport sys\nprint(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "statement",
    [
        "import agentworkflow.functions.__main__",
        "import agentworkflow.functions.front, uvicorn, uvicorn.protocols.http.httptools_impl",
        "from agentworkflow import function, Context, Event, Retry, Failure",
    ],
)
def test_the_front_and_the_authors_api_import_nothing_heavy(statement: str) -> None:
    assert modules_after(statement).intersection(HEAVY) == set()


def test_importing_the_package_imports_nothing_else_of_it() -> None:
    assert {
        name for name in modules_after("import agentworkflow") if "agentworkflow." in name
    } == set()


def test_the_zygote_needs_no_http_server() -> None:
    assert (
        modules_after("import agentworkflow.functions.zygote").intersection(
            {"uvicorn", "uvloop", "httptools", "jsonschema"}
        )
        == set()
    )


def test_the_package_names_what_it_offers() -> None:
    assert dir(agentworkflow) == [
        *("Context", "Event", "Failure", "Retry", "__version__", "function")
    ]
    with pytest.raises(AttributeError, match="nothing_of_the_kind"):
        _ = agentworkflow.nothing_of_the_kind
