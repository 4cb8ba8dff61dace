"""A real engine for a test: `agentworkflow dev` in a process of its own, asked over HTTP.

For tests of a whole workflow as it runs: real processes, real store, real time. A workflow's logic
is tested faster, and with a clock that the test drives, by `WorkflowTest`.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Self, TypeVar

import httpx2

TERMINAL: Final = frozenset({"Succeeded", "Failed", "Cancelled"})
_PAUSE: Final = 0.02
_STOP_SECONDS: Final = 20.0
_OUTPUT_TAIL: Final = 4000

Answer = TypeVar("Answer")


class LocalEngineError(Exception):
    """The engine did not start, did not answer, or a run did not get where the test wanted it."""


class LocalEngine:
    """Starts an engine for workflow files, and stops it. Use it as a context manager.

    ```python
    with LocalEngine("workflow.yaml") as engine:
        run = engine.run("order-insights", {"order": "A-17"})
    assert run["state"] == "Succeeded"
    ```

    Args:
        files: workflow files.
        data_dir: the engine's data directory; a temporary one without it.
        arguments: more arguments of `agentworkflow dev`.
        environment: variables laid over this process's own.
        namespace: where runs are asked for.
    """

    def __init__(
        self,
        *files: str | os.PathLike[str],
        data_dir: str | os.PathLike[str] | None = None,
        arguments: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        namespace: str = "default",
    ) -> None:
        self._files = [os.fspath(file) for file in files]
        self._arguments = list(arguments)
        self._environment = {**os.environ, **(environment or {})}
        self._own = tempfile.TemporaryDirectory(prefix="agentworkflow-") if not data_dir else None
        self.data_dir = Path(data_dir or (self._own.name if self._own else ""))
        self.namespace = namespace
        self.output = self.data_dir.parent / f"{self.data_dir.name}.output"
        self._process: subprocess.Popen[bytes] | None = None
        self._http: httpx2.Client | None = None

    def __enter__(self) -> Self:
        self.start_process()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        if self._own:
            self._own.cleanup()
            self.output.unlink(missing_ok=True)

    # --- the process ----------------------------------------------------------------------

    @property
    def process(self) -> "subprocess.Popen[bytes]":
        """The engine's process."""
        if self._process is None:
            raise LocalEngineError("the engine is not running; use it in a `with` block.")
        return self._process

    @property
    def url(self) -> str:
        """The engine's API, such as http://127.0.0.1:40123."""
        return str(self.http.base_url).rstrip("/")

    @property
    def http(self) -> httpx2.Client:
        """A client whose base is the engine's API."""
        if self._http is None:
            raise LocalEngineError("the engine is not running; use it in a `with` block.")
        return self._http

    def start_process(self, *, seconds: float = 30.0) -> None:
        """Start the engine on its data directory and wait until it is ready."""
        self.data_dir.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "agentworkflow.cli", "dev", *self._files]
        command += ["--data-dir", str(self.data_dir), "--port", "0", *self._arguments]
        with self.output.open("ab") as output:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self._environment,
            )
        try:
            url = self.poll("the engine's address", self._find_url, seconds=seconds)
            self._http = httpx2.Client(base_url=url, timeout=30.0, trust_env=False)
            self.poll("the engine to be ready", self._is_ready, seconds=seconds)
        except BaseException:
            self.stop()
            raise

    def stop(self, how: int = signal.SIGINT) -> int | None:
        """Stop the engine by a signal, wait for its end, and return its exit code."""
        if self._http is not None:
            self._http.close()
            self._http = None
        if self._process is None:
            return None
        process, self._process = self._process, None
        process.send_signal(how)
        try:
            return process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise LocalEngineError(
                f"the engine did not end within {_STOP_SECONDS:g} s of {signal.Signals(how).name}."
                f"{self._tail()}"
            ) from None

    def poll(
        self, what: str, check: Callable[[], Answer | None], *, seconds: float = 30.0
    ) -> Answer:
        """Ask `check` until it answers with something true.

        Raises:
            LocalEngineError: the time is over or the engine has ended; names `what` was awaited.
        """
        end = time.monotonic() + seconds
        while True:
            answer = check()
            if answer:
                return answer
            if self.process.poll() is not None:
                raise LocalEngineError(
                    f"the engine ended with exit code {self.process.returncode}, before {what}."
                    f"{self._tail()}"
                )
            if time.monotonic() > end:
                raise LocalEngineError(f"waited {seconds:g} s for {what}.{self._tail()}")
            time.sleep(_PAUSE)

    # --- runs -----------------------------------------------------------------------------

    def start(
        self,
        workflow: str,
        input: Any = None,  # noqa: A002 — the word of the API
        *,
        session: str | None = None,
        key: str | None = None,
    ) -> str:
        """Start a run and return its id; `key` is the `Idempotency-Key`."""
        response = self.http.post(
            self.path(f"/workflows/{workflow}/runs"),
            json={} if input is None else input,
            params={} if session is None else {"session": session},
            headers={} if key is None else {"idempotency-key": key},
        )
        return str(_answer(response)["run"])

    def run(
        self,
        workflow: str,
        input: Any = None,  # noqa: A002 — the word of the API
        *,
        session: str | None = None,
        seconds: float = 30.0,
    ) -> dict[str, Any]:
        """Start a run, wait for its end, and return its view."""
        return self.wait(self.start(workflow, input, session=session), seconds=seconds)

    def view(self, run: str) -> dict[str, Any]:
        """The run as the API shows it."""
        view: dict[str, Any] = _answer(self.http.get(self.path(f"/runs/{run}")))
        return view

    def wait(self, run: str, *, seconds: float = 30.0) -> dict[str, Any]:
        """The view of the run once it is terminal."""
        return self.wait_until(run, lambda view: view["state"] in TERMINAL, seconds=seconds)

    def wait_until(
        self, run: str, condition: Callable[[dict[str, Any]], bool], *, seconds: float = 30.0
    ) -> dict[str, Any]:
        """The first view of the run for which the condition holds."""
        seen: dict[str, Any] = {}

        def check() -> dict[str, Any] | None:
            seen.update(self.view(run))
            return dict(seen) if condition(seen) else None

        try:
            return self.poll(f"run {run}", check, seconds=seconds)
        except LocalEngineError as error:
            raise LocalEngineError(f"{error}\nlast seen: {json.dumps(seen, indent=1)}") from None

    def log(self, run: str) -> list[dict[str, Any]]:
        """The log of a run that has ended, as clients see it."""
        response = self.http.get(
            self.path(f"/runs/{run}/events"), headers={"accept": "text/event-stream"}
        )
        response.raise_for_status()
        return [
            json.loads(line.removeprefix("data:"))
            for line in response.text.splitlines()
            if line.startswith("data:")
        ]

    def signal(self, run: str, name: str, value: Any = None) -> None:
        """Send a signal to a run."""
        _answer(self.http.post(self.path(f"/runs/{run}/signals/{name}"), json=value))

    def cancel(self, run: str) -> None:
        """Cancel a run."""
        _answer(self.http.post(self.path(f"/runs/{run}/cancel")))

    def send(self, event: Mapping[str, Any], *, broker: str = "default") -> None:
        """Send a CloudEvent, in its JSON form, to a broker."""
        _answer(
            self.http.post(
                self.path("/events"),
                params={"broker": broker},
                content=json.dumps(event).encode(),
                headers={"content-type": "application/cloudevents+json"},
            )
        )

    def runs(self, **filters: str | int) -> list[dict[str, Any]]:
        """Runs by `workflow`, `state`, `session` and `limit`."""
        items: list[dict[str, Any]] = _answer(self.http.get(self.path("/runs"), params=filters))[
            "items"
        ]
        return items

    def path(self, path: str) -> str:
        """A path of the API within the namespace."""
        return f"/v1/namespaces/{self.namespace}{path}"

    # --- inside ---------------------------------------------------------------------------

    def _find_url(self) -> str | None:
        try:
            found = json.loads((self.data_dir / "engine.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return str(found["api"]) if found.get("pid") == self.process.pid else None

    def _is_ready(self) -> bool:
        try:
            return self.http.get("/readyz").is_success
        except httpx2.TransportError:
            return False

    def _tail(self) -> str:
        try:
            text = self.output.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""
        return f"\nIts output ends with:\n{text[-_OUTPUT_TAIL:]}"


def _answer(response: httpx2.Response) -> Any:
    if response.is_error:
        raise LocalEngineError(
            f"{response.request.method} {response.request.url.path} was answered with "
            f"{response.status_code}: {response.text}"
        )
    return response.json() if response.content else None
