import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

FUNCTIONS = {
    "where": "behaviours:where",
    "broken": "broken:never",
    "missing": "no_such_module:never",
    "misspelt": "behaviours:wher",
    "ends": "ends_on_import:never",
    "locks": "lost_annotation:locks",
    "alive": "with_thread:alive",
    "alive-async": "with_thread:alive_async",
    "talk": "with_socket:talk",
}


@pytest.fixture(scope="module")
def host(start_host: Any) -> Any:
    return start_host(FUNCTIONS, preload=["json", "no_such_preload"])


def test_an_import_error_disables_that_function_alone(host: Any) -> None:
    problem = host.step("broken").json()
    assert problem["reason"] == "Failure"
    assert problem["type"] == "urn:agentworkflow:problem:handler-import"
    assert host.step("where").status == 200
    assert host.request("GET", "/readyz").status == 200


def test_an_import_error_shows_the_last_lines_of_its_traceback_and_the_path(host: Any) -> None:
    detail = host.step("broken").json()["detail"]
    assert "ModuleNotFoundError: No module named 'a_package_that_is_not_there'" in detail
    assert "import a_package_that_is_not_there" in detail
    assert "broken.py" in detail
    assert f"searched: {Path(__file__).parent / 'handlers'}" in detail


def test_a_module_that_is_not_there_is_named(host: Any) -> None:
    assert "No module named 'no_such_module'" in host.step("missing").json()["detail"]


def test_a_misspelt_attribute_gets_the_nearest_name(host: Any) -> None:
    detail = host.step("misspelt").json()["detail"]
    assert "behaviours has no 'wher'; did you mean 'where'?" in detail


def test_an_import_that_ends_its_process_disables_that_function_alone(host: Any) -> None:
    problem = host.step("ends").json()
    assert problem["type"] == "urn:agentworkflow:problem:handler-import"
    assert "exit code 7" in problem["detail"]


def test_a_parameter_that_no_json_fills_is_an_error_of_its_function(host: Any) -> None:
    problem = host.step("locks").json()
    assert problem["type"] == "urn:agentworkflow:problem:handler-signature"
    assert "parameter 'lock'" in problem["detail"]


def test_a_function_whose_import_leaves_a_thread_runs_in_a_spawned_process(host: Any) -> None:
    answers = [host.step("alive").json() for _ in range(3)]
    assert [each["thread"] for each in answers] == [True] * 3
    assert len({each["pid"] for each in answers}) == 3
    assert "function alive: its import leaves 1 threads running" in host.log


def test_a_spawned_worker_serves_many_events(host: Any) -> None:
    answers = [host.step("alive-async").json() for _ in range(3)]
    assert [each["thread"] for each in answers] == [True] * 3
    assert len({each["pid"] for each in answers}) == 1


def test_a_function_whose_import_leaves_a_socket_runs_in_a_spawned_process(host: Any) -> None:
    assert host.step("talk", {"text": "hello"}).json() == "hello"
    assert "function talk: its import leaves 2 sockets running" in host.log


def test_the_zygote_that_forks_has_one_thread_and_one_socket(host: Any) -> None:
    host.step("where")
    zygote = host.zygote()
    assert zygote.num_threads() == 1
    links = [link.readlink().name for link in Path(f"/proc/{zygote.pid}/fd").iterdir()]
    assert len([each for each in links if each.startswith("socket:")]) == 1
    assert not [each for each in links if "eventpoll" in each]


def test_a_preload_that_fails_is_logged_and_nothing_else(host: Any) -> None:
    host.step("where")
    assert "preload no_such_preload: ModuleNotFoundError" in host.log


def test_functions_shows_schemas_and_load_errors(host: Any) -> None:
    host.step("where")
    shown = {each["name"]: each for each in host.request("GET", "/functions").json()["functions"]}
    assert shown["where"]["error"] is None
    assert shown["where"]["runsIn"] == "forked child"
    assert shown["alive"]["runsIn"] == "spawned child"
    assert shown["alive-async"]["runsIn"] == "spawned worker"
    assert shown["broken"]["error"]["traceback"][-1].startswith("ModuleNotFoundError")


def test_the_front_never_imports_user_code_or_pydantic(host: Any) -> None:
    maps = Path(f"/proc/{host.process.pid}/maps").read_text()
    assert "pydantic_core" not in maps
    assert "pydantic_core" in Path(f"/proc/{host.zygote().pid}/maps").read_text()


def describe(tmp_path: Path, functions: dict[str, str]) -> subprocess.CompletedProcess[str]:
    table = tmp_path / "table.json"
    entries = [{"name": name, "handler": handler} for name, handler in functions.items()]
    path = [str(Path(__file__).parent / "handlers")]
    table.write_text(json.dumps({"path": path, "functions": entries}))
    return subprocess.run(
        [sys.executable, "-m", "agentworkflow.functions", "--describe", "--table", str(table)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_describe_prints_schemas_and_errors_as_json(tmp_path: Path) -> None:
    done = describe(
        tmp_path, {"rest": "orders:rest", "broken": "broken:never", "ends": "ends_on_import:x"}
    )
    assert done.returncode == 0
    rest, broken, ends = json.loads(done.stdout)["functions"]
    assert rest["inputSchema"]["required"] == ["order"]
    assert rest["outputSchema"] == {"additionalProperties": True, "type": "object"}
    assert rest["error"] is None
    assert broken["error"]["path"] == [str(Path(__file__).parent / "handlers")]
    assert "a_package_that_is_not_there" in broken["error"]["traceback"][-1]
    assert "exit code 7" in ends["error"]["detail"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is not JSON"),
        ('{"functions": []}', "functions: is empty"),
        ('{"functions": [{"name": "a", "handler": "a.b"}]}', "functions[0].handler: is 'a.b'"),
        ('{"role": "x", "functions": [{"name": "a", "handler": "a:b"}]}', "role: is 'x'"),
    ],
)
def test_a_wrong_table_is_exit_code_2_with_file_and_place(
    tmp_path: Path, text: str, words: str
) -> None:
    table = tmp_path / "table.json"
    table.write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "agentworkflow.functions", "--table", str(table)],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == 2
    assert done.stderr.startswith(f"{table}: ")
    assert words in done.stderr
