"""Shows times in sentences of the controller, which are in UTC, in the time zone of this machine as tables do.

Decides what counts as a time: ISO 8601 with its offset from UTC. Refuses to know the subject of the sentence.
"""

import re
from datetime import datetime

_MOMENT = re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:\+00:00|Z)")


def with_local_times(words: str) -> str:
    """Returns a sentence with each time in the zone of this machine (TZ), to the second, with the zone's name."""
    return _MOMENT.sub(lambda found: f"{datetime.fromisoformat(found[0]).astimezone():%Y-%m-%d %H:%M:%S %Z}", words)
