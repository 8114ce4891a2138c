"""Documents that were kept when tables were JSON files, in the words of today.

Decides which keys have other names now. Refuses to know what they mean. Pure.
"""

from typing import Any

RENAMED_KEYS = {
    "share": "traffic_share",
    "windows": "maintenance",
    "window": "judged_inferences",
    "window_s": "judged_s",
}
"""What a strategy and its trial policy were called while tables were JSON files."""


def in_words_of_now(doc: Any) -> Any:
    """The document with the names of today in trial policies and rules; everything else stays as it is."""
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
    """A trial policy, or a strategy's rules; labels and selectors keep their keys, whatever people call them."""
    if isinstance(part, list):
        return [_renamed(each) for each in part]
    return {RENAMED_KEYS.get(key, key): value for key, value in part.items()} if isinstance(part, dict) else part
