"""Asks a device for a prediction over the Open Inference Protocol: python examples/ask.py MODEL NUMBER...

Any KServe or Triton client does the same, and faster. This one needs only Python.
"""

import json
import sys
from urllib.request import urlopen

URL = "http://127.0.0.1:8190/v2/models"

name, *row = sys.argv[1:]
with urlopen(f"{URL}/{name}") as answer:  # noqa: S310 - http, as written above
    model = json.load(answer)
cells = [[float(cell) for cell in row]] if len(model["inputs"]) == 1 else [[float(cell)] for cell in row]
inputs = [
    {"name": tensor["name"], "datatype": tensor["datatype"], "shape": [1, len(data)], "data": data}
    for tensor, data in zip(model["inputs"], cells, strict=True)
]
with urlopen(f"{URL}/{name}/infer", json.dumps({"inputs": inputs}).encode()) as answer:  # noqa: S310 - as above
    found = json.load(answer)
print(f"{name} v{found['model_version']}:", {output["name"]: output["data"] for output in found["outputs"]})
