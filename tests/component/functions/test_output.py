from typing import Any

import pytest


@pytest.fixture(scope="module")
def host(start_host: Any) -> Any:
    names = ["prints", "prints_async", "floods", "where"]
    return start_host({name.replace("_", "-"): f"behaviours:{name}" for name in names})


def test_each_line_of_a_handler_reaches_the_log_with_run_and_step(host: Any, until: Any) -> None:
    host.step("prints", {"text": "gänse"}, run="p1-00")
    until(lambda: "[p1-00/prints/1] no line end" in host.log)
    assert "[p1-00/prints/1] gänse\n" in host.log
    until(lambda: "WARNING agentworkflow.function.prints: logged gänse" in host.log)


def test_lines_of_a_worker_are_told_apart(host: Any, background: Any, until: Any) -> None:
    replies = [
        background(lambda n=n: host.step("prints-async", {"text": f"t{n}"}, run=f"w{n}-00"))
        for n in range(3)
    ]
    for reply in replies:
        reply()
    for n in range(3):
        until(lambda n=n: f"[w{n}-00/prints-async/1] after t{n}\n" in host.log)
        assert f"[w{n}-00/prints-async/1] t{n}\n" in host.log


def test_a_handler_that_prints_hundreds_of_megabytes_hurts_nobody(
    host: Any, background: Any, until: Any
) -> None:
    reply = background(lambda: host.step("floods", {"mib": 300}, run="flood-00"))
    for _ in range(10):
        assert host.step("where").status == 200
    assert reply().json() == "printed"
    until(lambda: "bytes of output are not shown" in host.log)
    assert host.log_file.stat().st_size < 4 * 1024 * 1024
