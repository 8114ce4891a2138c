"""Asks a device for a prediction over the Open Inference Protocol: python examples/ask.py MODEL CELL...

It asks an agent on this machine at port 8190; --url names another one.

Any KServe or Triton client does the same, and faster. This one needs only Python.
"""

import argparse
import json
import sys
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

URL = "http://127.0.0.1:8190"
"""The address in `listen` of [serving] in the agent.toml of README.md."""

_TRUTHS = {"true": True, "false": False}
"""A column of truths is INT64 in most models of a DataFrame."""


def ask(address: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """Returns the JSON at an address, or ends with the error of the device."""
    raw = None if body is None else json.dumps(body).encode()
    try:
        with urlopen(address, raw) as answer:  # noqa: S310 - http, as written above
            found: dict[str, Any] = json.load(answer)
    except HTTPError as error:
        sys.exit(f"{address}: {error.code}: {error.read().decode(errors='replace')[:500]}")
    except URLError as error:
        sys.exit(f"{address}: {error.reason}: does an agent serve here ([serving] listen in its agent.toml)?")
    return found


def cell(text: str, tensor: dict[str, Any]) -> str | float | int | bool:
    """Returns a word of the command line as a value that the tensor takes."""
    if tensor["datatype"] == "BYTES":
        return text
    try:
        if tensor["datatype"] == "BOOL":
            return (_TRUTHS | {"1": True, "0": False})[text.lower()]
        if text.lower() in _TRUTHS and tensor["datatype"].startswith(("INT", "UINT")):
            return int(_TRUTHS[text.lower()])
        return float(text) if tensor["datatype"].startswith("FP") else int(text)
    except (KeyError, ValueError):
        article = "an" if tensor["datatype"][0] in "IF" else "a"  # said as letters: an FP32, a UINT8
        sys.exit(f"{tensor['name']}: {text!r} is not {article} {tensor['datatype']}")


def main() -> None:
    """Asks and prints the answer."""
    parser = argparse.ArgumentParser(description="Asks a device for a prediction.")
    parser.add_argument("--url", default=URL, help="where its agent serves ([serving] listen); default: %(default)s")
    parser.add_argument("model")
    parser.add_argument("cell", nargs="+", help="a value for each column, in their order")
    given = parser.parse_args()
    name, row = given.model, given.cell
    url = f"{given.url.rstrip('/').removesuffix('/v2/models')}/v2/models/{name}"
    tensors = ask(url)["inputs"]
    wanted = tensors[0]["shape"][-1] if len(tensors) == 1 else len(tensors)
    if wanted not in (-1, len(row)):
        columns = tensors[0].get("parameters", {}).get("columns") or [tensor["name"] for tensor in tensors]
        sys.exit(f"{name} takes {wanted} cells, not {len(row)}: {', '.join(columns)}")
    parts = [row] if len(tensors) == 1 else [[text] for text in row]
    inputs = [
        {
            "name": tensor["name"],
            "datatype": tensor["datatype"],
            "shape": [1, len(part)],
            "data": [cell(text, tensor) for text in part],
        }
        for tensor, part in zip(tensors, parts, strict=True)
    ]
    found = ask(f"{url}/infer", {"inputs": inputs})
    print(f"{name} v{found['model_version']}:", {output["name"]: output["data"] for output in found["outputs"]})


if __name__ == "__main__":
    main()
