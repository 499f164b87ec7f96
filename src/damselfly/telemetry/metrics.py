"""Every metric of the program."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest


class Metrics:
    """The metrics of one part; label values come from small fixed sets, never from users."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.bytes_received = self._counter(
            "damselfly_bytes_received", "Verified bytes, by where they came from.", "provider"
        )
        self.bytes_sent = self._counter("damselfly_bytes_sent", "Block bytes given to others.")
        self.blocks_fetched = self._counter(
            "damselfly_blocks_fetched", "Fetches from parents, by outcome.", "outcome"
        )
        self.block_fetch_seconds = Histogram(
            "damselfly_block_fetch_seconds",
            "From asking a parent to having stored the block.",
            buckets=(0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10),
            registry=self.registry,
        )
        self.downloads_running = self._gauge("damselfly_downloads_running", "Downloads under way.")
        self.downloads = self._counter(
            "damselfly_downloads", "Downloads that ended, by outcome.", "outcome"
        )
        self.source_requests = self._counter(
            "damselfly_source_requests", "Requests to sources.", "method"
        )
        self.source_bytes = self._counter("damselfly_source_bytes", "Bytes read from sources.")
        self.uploads_running = self._gauge("damselfly_uploads_running", "Uploads under way.")
        self.uploads_refused = self._counter(
            "damselfly_uploads_refused", "Requests for blocks that found no slot."
        )
        self._add_cache()
        self.sessions = self._gauge("damselfly_sessions", "Hosts with a session.")
        self.put_off = self._counter(
            "damselfly_put_off", "Sessions and joins that were told to come later.", "what"
        )
        self.tasks = self._gauge("damselfly_tasks", "Editions that hosts take part in.")
        self.proxy_requests = self._counter(
            "damselfly_proxy_requests", "Requests to the HTTP proxy, by what became of them.", "way"
        )
        self.preheats = self._counter(
            "damselfly_preheats", "Preheat jobs that ended, by how.", "state"
        )
        self.push_events = self._counter(
            "damselfly_push_events", "Push events from webhooks, by what became of them.", "outcome"
        )
        self.hosts_banned = self._counter("damselfly_hosts_banned", "Bans of hosts.")
        self.scheduler_handle_seconds = Histogram(
            "damselfly_scheduler_handle_seconds",
            "One decision of the scheduler.",
            buckets=(1e-5, 1e-4, 1e-3, 1e-2, 0.1),
            registry=self.registry,
        )
        self.loop_delay_seconds = Histogram(
            "damselfly_loop_delay_seconds",
            "How much later than planned the event loop came to a task, ten times a second.",
            buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5),
            registry=self.registry,
        )

    def _add_cache(self) -> None:
        self.cache_bytes = self._gauge("damselfly_cache_bytes", "Bytes in the cache.")
        self.cache_editions = self._gauge("damselfly_cache_editions", "Editions in the cache.")
        self.cache_asked_bytes = self._counter(
            "damselfly_cache_asked_bytes", "Bytes asked for: found in the cache, or not.", "outcome"
        )
        self.cache_expired = self._counter(
            "damselfly_cache_expired", "Editions that left because nobody used them for too long."
        )
        self.scrubbed_bytes = self._counter(
            "damselfly_scrubbed_bytes", "Bytes of the cache that were read again and compared."
        )
        self.damaged_blocks = self._counter(
            "damselfly_damaged_blocks", "Blocks of the cache that were no longer what they were."
        )
        self.repaired_blocks = self._counter(
            "damselfly_repaired_blocks", "Damaged blocks that were fetched again."
        )

        self._add_compression()

    def _add_compression(self) -> None:
        self.bytes_saved = self._counter(
            "damselfly_bytes_saved", "Bytes that the wire did not carry, blocks being compressed."
        )
        self.codec_cpu_seconds = self._counter(
            "damselfly_codec_cpu_seconds", "CPU for sampling, encoding and decoding.", "what"
        )
        self.blocks_encoded = self._counter(
            "damselfly_blocks_encoded", "Blocks from sources, by what they became.", "codec"
        )
        self.compressing = self._gauge(
            "damselfly_compressing", "1 while blocks are compressed, 0 while the load is too high."
        )
        self.encode_queue = self._gauge(
            "damselfly_encode_queue", "Blocks that wait to be compressed or stored."
        )
        self.link_rate = self._gauge(
            "damselfly_link_bytes_per_second", "What compression takes for the rate of a link."
        )
        self.cpu_bound = self._gauge(
            "damselfly_cpu_bound", "1 while CPUs and not the link limit what is sent."
        )
        self.compression_pauses = self._counter(
            "damselfly_compression_pauses", "How often the load stopped compression.", "reason"
        )

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(name, text, registry=self.registry)

    def value(self, name: str, **labels: str) -> float:
        """Return a value as it is exposed, 0 for one that was never counted."""
        # Of this metric alone: to collect all of them takes ten times as long.
        for metric in self.registry.restricted_registry([name]).collect():
            for sample in metric.samples:
                if (sample.name, sample.labels) == (name, labels):
                    return sample.value
        return 0.0

    def exposition(self) -> bytes:
        """Return all values in the text format of Prometheus."""
        return generate_latest(self.registry)
