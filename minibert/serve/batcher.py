"""One thread that runs the model; texts of requests that arrive together go through it together.

Whatever waits when the model is free makes up the next batch, up to a budget of tokens: nothing is
held back to fill one. A request with more texts than that goes through in slices, and after each
the others have their turn, so that a small request never waits for the whole of a large one.

It knows nothing of HTTP. A future that is cancelled takes its texts out of the queue.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple

import numpy as np

from minibert.fast.bert import Engine
from minibert.tokenizer.tokenizer import Tokenizer
from minibert.vectors.embed import embed_pieces
from minibert.vectors.plan import Plan
from minibert.vectors.tokens import token_states

BATCHES = 4  # of the size that suits the device go into one, so that texts can be sorted by length


class Job:
    """Texts of one request, as ids; those in `left` are still to be run, the longest first."""

    def __init__(self, pieces: Sequence[list[int]], plan: Plan):
        self.pieces, self.plan = pieces, plan
        self.future: Future[list[np.ndarray]] = Future()
        self.rows: list[Any] = [None] * len(pieces)
        self.left = deque(sorted(range(len(pieces)), key=self.tokens, reverse=True))

    def tokens(self, number: int) -> int:
        """How many tokens the model reads of a text, as `read_of` counts them."""
        return read_of(self.pieces[number], self.plan)

    def take(self, room: int) -> list[int]:
        """Texts of together at most `room` tokens, out of those that are left."""
        chosen = []
        while self.left and self.tokens(self.left[0]) <= room:
            room -= self.tokens(self.left[0])
            chosen.append(self.left.popleft())
        return chosen


class Call(NamedTuple):
    """A function that is to run in the model's thread."""

    function: Callable[[], Any]
    future: "Future[Any]"

    def run(self) -> None:
        if self.future.set_running_or_notify_cancel():
            try:
                self.future.set_result(self.function())
            except Exception as error:
                self.future.set_exception(error)


def read_of(ids: Sequence[int], plan: Plan) -> int:
    """How many tokens the model reads of a text, with [CLS] and [SEP]; windows count as one."""
    return min(len(ids) + 2, plan.limit) if plan.long_texts == "cut" else len(ids) + 2


class Batcher:
    """The model's thread and the queue before it.

    batch_tokens  tokens that go through the model together; None: what suits the device
    """

    def __init__(self, engine: Engine, tokenizer: Tokenizer, batch_tokens: int | None = None):
        self.engine, self.tokenizer = engine, tokenizer
        self.batch_tokens = batch_tokens or BATCHES * engine.for_tokens(0).batch_tokens
        self.jobs: deque[Job | Call] = deque()
        self.changed = threading.Condition()
        self.closed = False
        self.batches = self.tokens = 0
        self.busy = 0.0  # seconds
        self.thread = threading.Thread(target=self._work, name="model", daemon=True)
        self.thread.start()

    def submit(self, pieces: Sequence[list[int]], plan: Plan) -> "Future[list[np.ndarray]]":
        """Texts as ids -> a future of one row each: a vector, or (T, H) if `plan` has no pools."""
        job = Job(pieces, plan)
        if pieces:
            self._queue(job)
        else:
            job.future.set_result([])
        return job.future

    def call(self, function: Callable[[], Any]) -> "Future[Any]":
        """Run a function in the model's thread, when its turn has come."""
        call = Call(function, Future())
        self._queue(call)
        return call.future

    def close(self) -> None:
        """Finish what is queued, then end the thread."""
        with self.changed:
            self.closed = True
            self.changed.notify()
        self.thread.join()

    def _queue(self, job: Job | Call) -> None:
        with self.changed:
            if self.closed:
                raise RuntimeError("the batcher is closed")
            self.jobs.append(job)
            self.changed.notify()

    def _work(self) -> None:
        while True:
            with self.changed:
                self.changed.wait_for(lambda: self.jobs or self.closed)
                if not self.jobs:
                    return
                first = self.jobs[0]
                if isinstance(first, Call):
                    self.jobs.popleft()
                else:
                    parts = self._collect()
            start = time.monotonic()
            if isinstance(first, Call):
                first.run()
            elif parts:
                self._run(parts)
            self.busy += time.monotonic() - start

    def _collect(self) -> list[tuple[Job, list[int]]]:
        """The next batch: jobs of one plan, and which of their texts. A job with texts left goes
        to the end of the queue."""
        parts: list[tuple[Job, list[int]]] = []
        others: list[Job | Call] = []  # that cannot be in this batch
        room = self.batch_tokens
        while self.jobs and room > 0:
            job = self.jobs.popleft()
            if isinstance(job, Call) or (parts and job.plan != parts[0][0].plan):
                others.append(job)
                continue
            if job.future.done():  # cancelled, or failed in an earlier slice
                continue
            chosen = job.take(room)
            if not chosen and not parts:
                chosen = [job.left.popleft()]  # a text longer than the whole budget
            if not chosen:
                others.append(job)
                break
            room -= sum(job.tokens(number) for number in chosen)
            parts.append((job, chosen))
            if job.left:
                self.jobs.append(job)
                break
        self.jobs.extendleft(reversed(others))
        return parts

    def _run(self, parts: list[tuple[Job, list[int]]]) -> None:
        plan = parts[0][0].plan
        pieces = [job.pieces[number] for job, chosen in parts for number in chosen]
        function: Any = embed_pieces if plan.pools else token_states
        try:
            rows = iter(function(self.engine, self.tokenizer, pieces, plan))
        except Exception as error:
            if len(parts) > 1:  # only the one at fault is to fail
                for part in parts:
                    self._run([part])
            elif parts[0][0].future.set_running_or_notify_cancel():
                parts[0][0].future.set_exception(error)
            return
        self.batches += 1
        self.tokens += sum(read_of(ids, plan) for ids in pieces)
        for job, chosen in parts:
            for number in chosen:
                job.rows[number] = next(rows)
            if not job.left and job.future.set_running_or_notify_cancel():
                job.future.set_result(job.rows)
