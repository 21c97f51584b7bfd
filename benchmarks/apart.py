"""Each candidate in a process of its own, so that none profits or suffers from another's settings:
threads that still wait for work, memory that was kept, precisions that were switched.
"""

import multiprocessing
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import torch


class Apart:
    """A function made in another process by `make(*arguments)`, and called there.

    The process starts at once and makes the function while its maker goes on: several start side
    by side. The first `prepare` waits for it. Every call then runs the function on those inputs.
    What the last call gave is fetched by `result`, so that its transfer is not timed.
    """

    def __init__(self, make: Callable[..., Callable], *arguments: Any):
        context = multiprocessing.get_context("spawn")
        self.pipe, other = context.Pipe()
        threads = torch.get_num_threads()
        self.process = context.Process(
            target=_serve, args=(other, threads, make, arguments), daemon=True
        )
        self.process.start()

    def prepare(self, *inputs: Any) -> None:
        """Send the inputs of the following calls."""
        self._ask("prepare", inputs)

    def __call__(self) -> None:
        self._ask("run")

    def result(self) -> Any:
        """What the last call gave, as an array."""
        return self._ask("result")

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.join()

    def _ask(self, *message: Any) -> Any:
        self.pipe.send(message)
        return self._answer()

    def _answer(self) -> Any:
        failed, value = self.pipe.recv()
        if failed:
            raise RuntimeError(f"a candidate failed in its process:\n{value}")
        return value


def _serve(pipe: Connection, threads: int, make: Callable[..., Callable], arguments: tuple) -> None:
    torch.set_num_threads(threads)
    inputs: tuple = ()
    output: Any = None
    try:
        function = make(*arguments)
        while True:
            what, *rest = pipe.recv()
            answer = None
            if what == "prepare":
                (inputs,) = rest
            elif what == "run":
                output = function(*inputs)
            elif isinstance(output, torch.Tensor):
                answer = output.float().numpy()
            else:
                answer = output
            pipe.send((False, answer))
    except EOFError:
        return
    except BaseException:
        pipe.send((True, traceback.format_exc()))
