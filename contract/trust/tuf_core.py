"""The core of python-tuf's client without its package, whose `__init__` imports an HTTP stack: 2 MB on a device.

Decides nothing. An empty package replaces the real one while its two pure modules are imported. A later import of
`tuf.ngclient` gives the real package.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import Any

import tuf

_PACKAGE = "tuf.ngclient"


def _load() -> tuple[Any, Any]:
    if _PACKAGE not in sys.modules:
        bare = ModuleType(_PACKAGE)
        bare.__path__ = [f"{place}/ngclient" for place in tuf.__path__]
        sys.modules[_PACKAGE] = bare
        try:
            return _parts()
        finally:
            del sys.modules[_PACKAGE]
    return _parts()


def _parts() -> tuple[Any, Any]:
    config = import_module(f"{_PACKAGE}.config")
    core = import_module(f"{_PACKAGE}._internal.trusted_metadata_set")
    return core.TrustedMetadataSet, config.EnvelopeType


TrustedMetadataSet, EnvelopeType = _load()
