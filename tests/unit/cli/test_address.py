"""Where commands look for a running engine."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from agentworkflow.cli.address import find_engine
from agentworkflow.cli.errors import CommandError


def _write(folder: Path, pid: int) -> None:
    content = {"pid": pid, "api": "http://127.0.0.1:4000"}
    (folder / "engine.json").write_text(json.dumps(content))


def test_a_url_is_taken_as_it_is() -> None:
    engine = find_engine("http://host:1", "key", None, "shop")

    assert (engine.url, engine.key, engine.namespace) == ("http://host:1", "key", "shop")


def test_a_url_without_a_scheme_is_refused() -> None:
    with pytest.raises(CommandError, match="write http://HOST:PORT"):
        find_engine("host:1", None, None, "default")


def test_the_engine_of_a_data_directory_is_found(tmp_path: Path) -> None:
    _write(tmp_path, os.getpid())

    assert find_engine(None, None, tmp_path, "default").url == "http://127.0.0.1:4000"


def test_no_engine_says_how_to_start_one(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="agentworkflow dev FILE") as caught:
        find_engine(None, None, tmp_path, "default")

    assert str(tmp_path) in str(caught.value)
    assert caught.value.exit_code == 2


def test_an_engine_that_has_died_is_no_engine(tmp_path: Path) -> None:
    gone = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    _write(tmp_path, int(gone.stdout))

    with pytest.raises(CommandError, match="no engine runs"):
        find_engine(None, None, tmp_path, "default")


def test_the_default_is_in_the_users_state_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    (tmp_path / "agentworkflow").mkdir()
    _write(tmp_path / "agentworkflow", os.getpid())

    assert find_engine(None, None, None, "default").url == "http://127.0.0.1:4000"
