"""Metrics of the HTTP service in the text format of Prometheus, without personal data.

Several workers share their numbers through the folder `PROMETHEUS_MULTIPROC_DIR`; `propensity serve` makes one.
"""

from __future__ import annotations

import os

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

SHARED = "PROMETHEUS_MULTIPROC_DIR"
CONTENT_TYPE = CONTENT_TYPE_LATEST
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
CUSTOMERS = (1, 2, 4, 8, 16)
METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))


class ServiceMetrics:
    """Counters of one application.

    Notes
    -----
    Labels have few values: routes as declared, known methods, statuses. A path that is not a route counts as `other`.
    """

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.served: tuple[str, str] | None = None
        self.requests = Counter(
            "propensity_requests", "Requests by route, method and status.", ("route", "method", "status"),
            registry=registry,
        )  # fmt: skip
        self.seconds = Histogram(
            "propensity_request_seconds", "Seconds from the first byte of a request to the last of its response.",
            ("route",), buckets=SECONDS, registry=registry,
        )  # fmt: skip
        self.received = Counter("propensity_received_bytes", "Bytes of bodies that were read.", registry=registry)
        self.customers = Counter("propensity_customers_scored", "Customers that were scored.", registry=registry)
        self.blocks = Histogram(
            "propensity_block_customers", "Customers that were scored in one block.", buckets=CUSTOMERS,
            registry=registry,
        )  # fmt: skip
        self.waiting = Gauge(
            "propensity_waiting", "Customers that wait to be scored.", registry=registry, multiprocess_mode="livesum"
        )
        self.unauthenticated = Counter(
            "propensity_refused_tokens", "Requests without a valid token, or without the role.", ("reason",),
            registry=registry,
        )  # fmt: skip
        self.exchanges = Counter(
            "propensity_exchanges", "Exchanged bundles, logs and files of tokens.", ("what", "result"),
            registry=registry,
        )  # fmt: skip
        self.bundle = Gauge(
            "propensity_bundle", "1 for the bundle that is served.", ("digest", "champion"), registry=registry,
            multiprocess_mode="livemax",
        )  # fmt: skip
        if not os.environ.get(SHARED):
            ProcessCollector(registry=registry)
            PlatformCollector(registry=registry)

    def serve(self, digest: str, champion: str) -> None:
        """Name the bundle that is served from now on; the one before stays at 0."""
        if self.served is not None:
            self.bundle.labels(*self.served).set(0)
        self.served = (digest, champion)
        self.bundle.labels(*self.served).set(1)

    def text(self) -> bytes:
        """All numbers, of all workers where they share a folder."""
        if not os.environ.get(SHARED):
            return generate_latest(self.registry)
        registry = CollectorRegistry()
        MultiProcessCollector(registry)
        return generate_latest(registry)

    def close(self) -> None:
        """Take the gauges of this process out of the shared folder."""
        if os.environ.get(SHARED):
            mark_process_dead(os.getpid())
