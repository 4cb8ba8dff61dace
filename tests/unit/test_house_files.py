"""What a tracked file may not contain: paths of one machine, hosts of registries, stale output."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
# uv.lock is uv's own file, and holds the addresses that it resolved.
ALLOWED = {"uv.lock"}
# Written in pieces, so that this file may be judged like every other.
PLACES = ["wo" + "rk/", "ro" + "ot/", "ho" + r"me/(?!ada\b)\w", "Us" + r"ers/\w", "opt/wh" + "eels"]
MACHINE_PATHS = re.compile(r"(?<![\w.])/(?:" + "|".join(PLACES) + ")")
REGISTRIES = re.compile(
    r"\b(?:"
    + "|".join(
        name.replace("~", "").replace(".", r"\.")
        for name in [
            "py~pi.org",
            "python~hosted.org",
            "registry.np~mjs.org",
            "docker~.io",
            "gh~cr.io",
            "gc~r.io",
            "qu~ay.io",
            "proxy.go~lang.org",
            "mc~r.microsoft.com",
            "crates~.io",
        ]
    )
    + r")\b"
)


def tracked() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip("not a git checkout: which files are tracked is unknown")
    names = [name for name in listed.stdout.split("\0") if name and name not in ALLOWED]
    return [ROOT / name for name in names if (ROOT / name).is_file()]


def found(pattern: re.Pattern[str]) -> list[str]:
    hits = []
    for path in tracked():
        text = path.read_text(errors="replace")
        for number, line in enumerate(text.splitlines(), start=1):
            if pattern.search(line):
                hits.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}")
    return hits


def test_no_tracked_file_holds_a_path_of_one_machine() -> None:
    assert found(MACHINE_PATHS) == []


def test_no_tracked_file_but_the_lock_names_a_registrys_host() -> None:
    assert found(REGISTRIES) == []


def test_the_rules_see_what_they_forbid() -> None:
    assert MACHINE_PATHS.search("cd /wo" + "rk/main")
    assert REGISTRIES.search("https://py" + "pi.org/simple")


def test_generated_files_are_fresh() -> None:
    checked = subprocess.run(
        [sys.executable, "-m", "agentworkflow.workflow.crd", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (checked.returncode, checked.stderr) == (0, ""), f"{checked.stdout}\nmake generate"
