"""A search for pipelines that convert, under a device's limits: score, bytes, latency and memory."""

from edgeward.automl.distil import Teacher
from edgeward.automl.front import Limits
from edgeward.automl.search import Search, search
from edgeward.automl.trial import Trial

__all__ = ["Limits", "Search", "Teacher", "Trial", "search"]
