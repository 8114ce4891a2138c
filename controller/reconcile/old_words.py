"""Renames the keys of documents that an older version kept as JSON files.

Decides which keys have new names. Refuses to know what they mean. Pure.
"""

from typing import Any

RENAMED_KEYS = {
    "share": "traffic_share",
    "windows": "maintenance",
    "window": "judged_inferences",
    "window_s": "judged_s",
}
"""The old and the new names of fields of a strategy and its trial policy."""


def in_words_of_now(doc: Any) -> Any:
    """Returns the document with the new names in trial policies and rules. All other keys stay the same."""
    match doc:
        case dict():
            return {
                key: _renamed(value) if key in ("policy", "trial", "rules") else in_words_of_now(value)
                for key, value in doc.items()
            }
        case list():
            return [in_words_of_now(each) for each in doc]
    return doc


def _renamed(part: Any) -> Any:
    """Renames the keys of a trial policy or of a strategy's rules.

    Labels and selectors keep all keys that people have chosen.
    """
    if isinstance(part, list):
        return [_renamed(each) for each in part]
    return {RENAMED_KEYS.get(key, key): value for key, value in part.items()} if isinstance(part, dict) else part
