"""A deadline for a whole call over HTTP: name, connection, TLS, headers and body together.

Decides that a late call is left to a thread of its own, which ends with its connection. A time-out of urllib3 starts
again with each byte, so a server that sends one now and then would hold the caller for hours. Refuses to know what is
called.
"""

import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def within(seconds: float, call: Callable[[], T]) -> T:
    """Returns the result of `call`, or raises what it raises. TimeoutError if it takes longer than `seconds`."""
    done: list[T] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            done.append(call())
        except BaseException as error:  # raised in the caller's thread
            failed.append(error)

    thread = threading.Thread(target=run, name="within", daemon=True)
    thread.start()
    thread.join(seconds)
    if failed:
        raise failed[0]
    if not done:
        raise TimeoutError(f"no whole answer in {seconds:g} s")
    return done[0]
