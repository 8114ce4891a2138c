"""The protocol's version and its named limits; it holds every limit of messages.

Refuses to know what happens when a limit is exceeded: the code that decodes reports it.
"""

VERSION = "0.1.0"
"""The version of the distribution, equal to pyproject.toml. To read it with importlib.metadata would take a device
20 ms and 1 MB.
"""

PROTOCOL = 1
"""Version of topics and messages. A device that uses another one gets an error, and its messages are not read."""

MAX_MESSAGE_BYTES = 256 * 1024
"""Largest JSON message accepted from the wire (the role document of a model with its 50 newest versions fits)."""

MAX_DESIRED_BYTES = 64 * 1024
"""Largest desired document: sixteen models with their policies take a tenth of it."""

MAX_METADATA_BYTES = 512 * 1024
"""Largest trust bundle or role document."""

MAX_ROOTS_IN_TRUST_BUNDLE = 8
"""Newest roots that a trust bundle carries; older ones are requested one by one."""

MAX_CHUNK_BYTES = 512 * 1024
"""The largest chunk of a blob: below the 1 MiB packet limit of a hardened broker."""

DEFAULT_CHUNK_BYTES = 64 * 1024
"""Chunk size chosen at publish; on a slow link one chunk is the unit that delays a command."""

MAX_BLOB_BYTES = 2 * 1024**3
MAX_MODEL_BYTES = 1024**3
"""The largest model that is pushed: half of what protobuf, and with it an ONNX file, can hold."""
"""Largest blob that a manifest may describe."""

MAX_TENSORS_BYTES = 64 * 1024**2
"""Largest set of arrays (a sample, a golden set) that is decoded into memory."""

MAX_MODELS_PER_DEVICE = 16
"""Most models that one desired document may name."""

MAX_LABELS = 32
"""Labels of a device: its own labels and those that the controller gives it are counted separately."""

MAX_FEATURES = 64
"""Columns of a model whose distribution devices report: the first ones, 2 kB of a telemetry message at the most."""

MAX_BINS = 18
"""The most bins of one histogram: missing values, sixteen categories (or ten ranges of numbers), everything else."""

MAX_GROUPS = 32
"""Values of group columns for which a device counts answers; further ones are counted as "other"."""

MAX_VERSIONS_PUBLISHED = 50
"""Newest versions of a model that its role document lists."""

MAX_DETAIL_CHARS = 500
"""Longest free text beside a code."""

MAX_FAULTS = 16
"""Faults in a heartbeat: there are fewer kinds, and a device that invents codes uses no more memory."""
