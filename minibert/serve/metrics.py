"""What the server counts, in the text form that Prometheus reads.

Source: https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from collections import Counter

BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)  # seconds
HELP = {
    "minibert_requests_total": ("counter", "answered requests, by path and status"),
    "minibert_texts_total": ("counter", "texts given to the model"),
    "minibert_texts_cut_total": ("counter", "of these, longer than the model reads, and cut"),
    "minibert_tokens_total": ("counter", "tokens of vectors that the model has read"),
    "minibert_batches_total": ("counter", "batches of texts that went through the model"),
    "minibert_busy_seconds_total": ("counter", "seconds in which the model was at work"),
    "minibert_requests_waiting": ("gauge", "requests that are being answered"),
    "minibert_request_seconds": ("histogram", "from a request's first line to its answer"),
}


class Metrics:
    """Counted by the guard and the service, all in the thread of the event loop."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, int]] = Counter()
        self.seconds: Counter[float] = Counter()  # by bucket; those beyond the last in none
        self.total_seconds = 0.0
        self.texts = self.cut = 0

    def count_request(self, path: str, status: int, seconds: float) -> None:
        self.requests[path, status] += 1
        self.total_seconds += seconds
        for bound in BUCKETS:
            if seconds <= bound:
                self.seconds[bound] += 1

    def text(self, **others: float) -> str:
        """All of it; `others` are counted elsewhere, named without `minibert_`."""
        rows = {f"minibert_{name}": value for name, value in others.items()}
        rows |= {"minibert_texts_total": self.texts, "minibert_texts_cut_total": self.cut}
        for (path, status), count in sorted(self.requests.items()):
            rows[f'minibert_requests_total{{path="{path}",status="{status}"}}'] = count
        name, count = "minibert_request_seconds", self.requests.total()
        for bound in BUCKETS:
            rows[f'{name}_bucket{{le="{bound:g}"}}'] = self.seconds[bound]
        rows |= {f'{name}_bucket{{le="+Inf"}}': count}
        rows |= {f"{name}_sum": self.total_seconds, f"{name}_count": count}
        lines = []
        for name, (kind, words) in HELP.items():
            lines += [f"# HELP {name} {words}", f"# TYPE {name} {kind}"]
            suffixes = ("_bucket", "_sum", "_count") if kind == "histogram" else ("",)
            series = [name + suffix for suffix in suffixes]
            lines += [
                f"{key} {value:g}" for key, value in rows.items() if key.partition("{")[0] in series
            ]
        return "\n".join(lines) + "\n"
