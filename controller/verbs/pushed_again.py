"""What a push changes whose bytes are a version already: its tags are set, and the origin of the version stays.

Decides which facts of such a push the version does not take. Refuses to know how bytes are compared.
"""

from collections.abc import Mapping

from controller.registry.version import Told, Version
from controller.state import State
from controller.verbs import writing


def add_tags(
    state: State, version: Version, tags: Mapping[str, str], *, actor: str
) -> tuple[dict[str, str], dict[str, str]]:
    """Sets those of the tags that the version does not have yet, and returns them, and the earlier values of those
    that had one. BadInput `request_invalid` if the version would have too many.
    """
    present = state.notes.of(version.model, version.release).tags
    added = {key: value for key, value in tags.items() if present.get(key) != value}
    if added:
        writing.tag(state, version.model, version.release, added, actor=actor)
    return added, {key: present[key] for key in added if key in present}


def facts_not_taken(version: Version, told: Told, parent: int | None, waive_rows: str) -> tuple[str, ...]:
    """Returns the names of facts that came with the push and differ from those of the version's first push."""
    lineage = version.lineage
    waived = version.evidence.get("waivers", {}).get("rows", "")
    pairs = {
        "metrics": (told.metrics, lineage.metrics),
        "licence": (told.licence, lineage.licence),
        "data": (told.data, lineage.data),
        "parent": (parent if told.parent else None, lineage.parent),
        "run": (told.run, lineage.run),
        "data sets": (told.data_sets, lineage.data_sets),
        "reason for few rows": (waive_rows, waived),
    }
    return tuple(name for name, (given, present) in pairs.items() if given and given != present)
