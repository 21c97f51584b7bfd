"""Each candidate in a process of its own, so that no setting of one touches another.

Such settings are threads that still wait for work, memory that is not given back to the operating
system, and number formats that were switched.
"""

import multiprocessing
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import torch


class Apart:
    """A function made in another process by `make(*arguments)`, and called there.

    The process makes the function while the caller goes on, so that several can start side by
    side; the first `prepare` waits for it. Every call then runs the function on those inputs.
    `result` fetches what the last call gave: apart from the call, so that the transfer between
    the processes is not timed.
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
            request, *rest = pipe.recv()
            answer = None
            if request == "prepare":
                (inputs,) = rest
            elif request == "run":
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
