"""`make env`: what pip is told, uv is told too; a machine that lacks something is told what."""

import importlib.util
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent.parent
TOOLS = ("sh", "sed", "cut", "date", "cksum", "mktemp", "cat", "rm", "dirname", "grep")


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("uv_settings", ROOT / ".ci" / "uv_settings.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


EXPORTS: Callable[[dict[str, str], dict[str, str]], list[str]] = load().exports


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"index-url": "https://index.example/simple"}, "UV_DEFAULT_INDEX"),
        ({"extra-index-url": "https://a.example https://b.example"}, "UV_INDEX"),
        ({"cert": "/etc/ssl/own.pem"}, "SSL_CERT_FILE"),
        ({"trusted-host": "index.example"}, "UV_INSECURE_HOST"),
        ({"timeout": "60"}, "UV_HTTP_TIMEOUT"),
        ({"proxy": "http://proxy.example:3128"}, "ALL_PROXY"),
    ],
)
def test_a_setting_of_pip_becomes_uvs(settings: dict[str, str], expected: str) -> None:
    (line,) = EXPORTS(settings, {})
    assert line.startswith(f"export {expected}=")
    assert next(iter(settings.values())) in line


def test_a_setting_made_for_uv_wins() -> None:
    settings = {"index-url": "https://index.example/simple", "cert": "/etc/ssl/own.pem"}
    environment = {"UV_INDEX_URL": "https://mine.example", "SSL_CERT_FILE": "/etc/ssl/all.pem"}
    assert EXPORTS(settings, environment) == []


def test_folders_of_packages_are_passed_on_if_they_are_there(tmp_path: Path) -> None:
    settings = {"find-links": f"{tmp_path} /no/such/folder https://links.example/"}
    assert EXPORTS(settings, {}) == [f"export UV_FIND_LINKS={tmp_path},https://links.example/"]


@pytest.mark.parametrize(("value", "count"), [("1", 1), ("true", 1), ("0", 0), ("false", 0)])
def test_no_index_is_a_switch(value: str, count: int) -> None:
    assert len(EXPORTS({"no-index": value}, {})) == count


def test_what_pip_says_cannot_be_taken_for_a_command() -> None:
    (line,) = EXPORTS({"cert": "/own certs/$(reboot).pem"}, {})
    assert line == "export SSL_CERT_FILE='/own certs/$(reboot).pem'"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The files that the script reads, and a PATH without any Python."""
    shutil.copytree(ROOT / ".ci", tmp_path / ".ci")
    for name in ("uv.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "bin").mkdir()
    for name in TOOLS:
        found = shutil.which(name, path=os.defpath)
        assert found is not None, name
        (tmp_path / "bin" / name).symlink_to(found)
    return tmp_path


def make_env(checkout: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [checkout / ".ci" / "environment"],
        env={"PATH": str(checkout / "bin"), "HOME": str(checkout)},
        capture_output=True,
        text=True,
        check=False,
    )


def add_python(checkout: Path, name: str, script: str) -> None:
    program = checkout / "bin" / name
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


def test_without_any_python_it_says_what_to_install(checkout: Path) -> None:
    done = make_env(checkout)
    assert done.returncode == 1
    assert "no Python 3.11 or newer; found: no python3 at all" in done.stderr
    assert "sudo apt install python3 python3-venv" in done.stderr


def test_an_old_python_is_named_with_its_version(checkout: Path) -> None:
    # Answers as a Python 3.9 would: not to the question for 3.11, and with its version.
    add_python(checkout, "python3", 'case "$2" in *exit*) exit 1;; *) echo 3.9.2;; esac')
    done = make_env(checkout)
    assert done.returncode == 1
    assert "python3 (3.9.2)" in done.stderr


def test_a_python_without_its_venv_module_is_told_the_package(checkout: Path) -> None:
    answers = """
case "$2" in
  *ensurepip*) exit 1;;
  *sys.executable*) echo "$0";;
  *platform*) echo 3.12.3;;
esac"""
    add_python(checkout, "python3", answers)
    done = make_env(checkout)
    assert done.returncode == 1
    assert "comes without its venv module" in done.stderr
    assert "sudo apt install python3-venv" in done.stderr
