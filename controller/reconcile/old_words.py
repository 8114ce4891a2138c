"""Reads what an older version kept: keys with other names in JSON files, and reasons of excluded devices as plain text.

Decides which keys have new names, and which code an old reason has. Refuses to know what they mean. Pure.
"""

from typing import Any

import msgspec

from controller.fleet.exclusion import Exclusion

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


def exclusion_of(kept: bytes) -> Exclusion:
    """Returns a stored reason. One without a code is that of a pin if it begins like the words of a pin of its time."""
    try:
        return msgspec.json.decode(kept, type=Exclusion)
    except msgspec.MsgspecError:
        words = kept.decode(errors="replace")
        return Exclusion("pinned" if words.startswith("pinned at v") else "unknown", words)


def with_exclusions(rollout: Any) -> Any:
    """Returns an old rollout's document with the reasons of its excluded devices as they are kept now."""
    excluded = {
        device: msgspec.to_builtins(exclusion_of(why.encode())) if isinstance(why, str) else why
        for device, why in rollout.get("excluded", {}).items()
    }
    return {**rollout, "excluded": excluded}


def _renamed(part: Any) -> Any:
    """Renames the keys of a trial policy or of a strategy's rules.

    Labels and selectors keep all keys that people have chosen.
    """
    if isinstance(part, list):
        return [_renamed(each) for each in part]
    return {RENAMED_KEYS.get(key, key): value for key, value in part.items()} if isinstance(part, dict) else part
