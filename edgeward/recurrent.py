"""The description of state between requests in a push.

Decides the errors for misuse, before anything is sent. Refuses to know how devices keep it.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgeward import arguments


@dataclass(frozen=True)
class RecurrentState:
    """The state that devices keep of each stream of requests: outputs that are the next inputs.

    `feeds` names by input the output that is its next value: `{"h_in": "h_out"}`. A stream begins with `initial` in
    every place, or with arrays by input, as `{"h_in": numpy.ones((1, 64))}`: states that it does not name begin with 0.
    It begins anew with a new version, after `reset_after_s` seconds without a request (0: never for that),
    and when more than `max_keys` streams are alive and it was asked longest ago.
    """

    feeds: Mapping[str, str]
    initial: float | Mapping[str, Any] = 0.0
    reset_after_s: float = 0.0
    max_keys: int = 64

    def encode(self) -> dict[str, Any]:
        """Returns it as it is sent. BadInput `request_invalid` names the field that is wrong."""
        arguments.by_name("state.feeds", self.feeds, arguments.text, '{"h_in": "h_out"}')
        arrays = self.initial if isinstance(self.initial, Mapping) else {}
        if not isinstance(self.initial, Mapping):
            arguments.number("state.initial", self.initial)
        arguments.by_name("state.initial", arrays, _array, '{"h_in": numpy.ones((1, 64))}')
        arguments.number("state.reset_after_s", self.reset_after_s)
        arguments.whole_number("state.max_keys", self.max_keys)
        return {
            "feeds": dict(self.feeds),
            "initial": "0.0" if isinstance(self.initial, Mapping) else repr(float(self.initial)),
            "arrays": _packed(arrays),
            "reset_after_s": repr(float(self.reset_after_s)),
            "max_keys": int(self.max_keys),
        }


def _array(argument: str, value: Any) -> None:
    """Refuses anything but an array of numbers, or lists of them."""
    import numpy as np  # only where arrays are given: a command line starts without it

    try:
        fits = np.asarray(value).dtype.kind in "fiub"
    except ValueError:  # lists of different lengths
        fits = False
    if not fits:
        arguments.refuse(argument, value, "an array of numbers")


def _packed(arrays: Mapping[str, Any]) -> str:
    """Returns arrays as npz in base64; empty for none."""
    if not arrays:
        return ""
    import numpy as np

    from contract.tensors import encode_tensors

    return base64.b64encode(encode_tensors({name: np.asarray(each) for name, each in arrays.items()})).decode("ascii")
