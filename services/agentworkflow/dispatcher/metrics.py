"""What a dispatcher counts and measures, in Prometheus's form.

Each dispatcher has a registry of its own, so that several can live in one process.
"""

import math
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

_LOSS_SECONDS: Final = {"None": 0.0, "OneSecond": 1.0}
_REQUEST_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5, 30, 60)
_CALL_BUCKETS: Final = (0.005, 0.01, 0.02, 0.04, 0.06, 0.1, 0.25, 0.5, 1, 2, 5, 15, 60, 300, 600)
_LAG_BUCKETS: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 30, 120)


class Metrics:
    """The metrics of one dispatcher.

    Attributes:
        requests: HTTP requests by route, method and status.
        request_seconds: their time to the last byte, without event streams.
        accepts: what was made durable, by kind (`start`, `duplicate`, `signal`, `cancel`,
            `event`, `dead_letter`).
        refusals: what was refused, by reason.
        watchers: open event streams and WebSockets.
        runs_finished: runs that became terminal here, by namespace, workflow, state and reason.
        call_seconds: from the first post of an attempt to its folded answer, by `start_type`.
        open_calls: posts to functions that wait for an answer.
        call_posts: posts by outcome (`answer`, `busy`, `unreachable`, `bad_answer`, …).
        due_lag_seconds: how late a due entry was leased, by kind.
        commits: commits of runs by outcome (`committed`, `conflict`, `gone`).
        stale_answers: answers and timers that changed nothing.
        store_errors: times that the store did not answer, by who asked (`request`, …).
        publications: publications by outcome (`sent`, `failed`, `dead`).
        pushes: webhook deliveries by outcome (`sent`, `failed`, `dead`).
        loss_window_seconds: what a crash of the store may lose; 0 with `appendfsync always`.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"agentworkflow_{name}", text, labels, registry=self.registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"agentworkflow_{name}", text, labels, registry=self.registry)

        def histogram(name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
            return Histogram(
                f"agentworkflow_{name}", text, labels, buckets=buckets, registry=self.registry
            )

        self.requests = counter(
            "http_requests",
            "HTTP requests by port, route, method and status.",
            "port",
            "route",
            "method",
            "status",
        )
        self.request_seconds = histogram(
            "http_request_seconds",
            "Seconds to the last byte of an answer.",
            _REQUEST_BUCKETS,
            "port",
            "route",
            "method",
        )
        self.accepts = counter("accepts", "What was made durable, by kind.", "kind")
        self.refusals = counter("refusals", "What was refused, by reason.", "reason")
        self.watchers = gauge("watchers", "Open event streams and WebSockets.", "kind")
        self.runs_finished = counter(
            "runs_finished",
            "Runs that became terminal.",
            "namespace",
            "workflow",
            "state",
            "reason",
        )
        self.call_seconds = histogram(
            "call_seconds",
            "Seconds from an attempt's first post to its folded answer.",
            _CALL_BUCKETS,
            "namespace",
            "workflow",
            "function",
            "start_type",
        )
        self.open_calls = gauge("open_calls", "Posts to functions that wait for an answer.")
        self.call_posts = counter("call_posts", "Posts to functions by outcome.", "outcome")
        self.due_lag_seconds = histogram(
            "due_lag_seconds", "How late a due entry was taken.", _LAG_BUCKETS, "kind"
        )
        self.commits = counter("commits", "Commits of runs by outcome.", "outcome")
        self.stale_answers = counter("stale_answers", "Answers and timers that changed nothing.")
        self.store_errors = counter("store_errors", "Calls of the store that failed.", "operation")
        self.publications = counter("publications", "Publications by outcome.", "outcome")
        self.pushes = counter("pushes", "Webhook deliveries by outcome.", "outcome")
        self.loss_window_seconds = gauge(
            "loss_window_seconds", "Seconds of writes that a crash of the store may lose."
        )

    def observe_loss_window(self, window: str) -> None:
        """Say what a crash of the store may lose: `None`, `OneSecond`, `Snapshot`, `Unknown`."""
        self.loss_window_seconds.set(_LOSS_SECONDS.get(window, math.inf))

    def render(self) -> tuple[bytes, str]:
        """The exposition and its content type."""
        return generate_latest(self.registry), CONTENT_TYPE_LATEST
