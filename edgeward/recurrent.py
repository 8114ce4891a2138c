"""The description of state between requests in a push.

Decides the errors for misuse, before anything is sent. Refuses to know how devices keep it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgeward import arguments


@dataclass(frozen=True)
class RecurrentState:
    """The state that devices keep of each stream of requests: outputs that are the next inputs.

    `feeds` names by input the output that is its next value: `{"h_in": "h_out"}`. A stream begins with `initial` in
    every place. It starts again with a new version, after `reset_after_s` seconds without a request (0: never for
    this reason), and if there are more than `max_keys` streams and it is the least recently used one.
    """

    feeds: Mapping[str, str]
    initial: float = 0.0
    reset_after_s: float = 0.0
    max_keys: int = 64

    def encode(self) -> dict[str, Any]:
        """Returns it as it is sent. BadInput `request_invalid` names the field that is wrong."""
        arguments.by_name("state.feeds", self.feeds, arguments.text, '{"h_in": "h_out"}')
        arguments.number("state.initial", self.initial)
        arguments.number("state.reset_after_s", self.reset_after_s)
        arguments.whole_number("state.max_keys", self.max_keys)
        return {
            "feeds": dict(self.feeds),
            "initial": repr(float(self.initial)),
            "reset_after_s": repr(float(self.reset_after_s)),
            "max_keys": int(self.max_keys),
        }
