"""The numbers that a message of a device may contain: counts, times, sums, and what is measured.

Decides the ranges. Each is wider than what an honest device sends, and so narrow that later code can add, square,
multiply and date every number in it. Refuses to know messages: their fields name these types, and `contract.said` drops
a part that is out of its range.
"""

from typing import Annotated

import msgspec

from contract.labels import LARGEST
from contract.versions import MAX_VERSION

LAST_MOMENT = 253_402_214_399
"""The end of 30 December 9999, in seconds since 1970: no calendar here goes further than the next day, in any zone."""
LONGEST_S = 1e9
"""Thirty years: no agent runs for so long, and nothing that it remembers is older."""
MAX_INTERVAL_S = 2 * 86_400.0
"""The longest time that one telemetry message may be about: twice the longest interval that can be configured."""
MAX_RELEASE = 10**9
"""The largest number of a version: one each second for thirty years."""
MOST_ADDED = 1e20
"""Numbers that are added to one sum: a billion a second for 3,000 years."""
MAX_SUM = LARGEST * MOST_ADDED
"""Sums of labels and distances beyond it are no measurements. The square of such a sum is still a finite number."""
MAX_SQUARED_SUM = LARGEST**2 * MOST_ADDED
"""The same for sums of squares."""
MAX_MB = 1e8
"""100 TB of memory."""

Count = Annotated[int, msgspec.Meta(ge=0, le=MAX_VERSION)]
Release = Annotated[int, msgspec.Meta(ge=0, le=MAX_RELEASE)]
Moment = Annotated[float, msgspec.Meta(ge=0, le=LAST_MOMENT)]
"""Seconds since 1970 in UTC."""
WholeMoment = Annotated[int, msgspec.Meta(ge=0, le=LAST_MOMENT)]
"""The same as a whole number."""
Elapsed = Annotated[float, msgspec.Meta(ge=0, le=LONGEST_S)]
"""Seconds between two moments of one start of an agent."""
WholeElapsed = Annotated[int, msgspec.Meta(ge=0, le=int(LONGEST_S))]
IntervalS = Annotated[float, msgspec.Meta(ge=0, le=MAX_INTERVAL_S)]
Ratio = Annotated[float, msgspec.Meta(ge=0, le=1)]
Cores = Annotated[float, msgspec.Meta(ge=0, le=1e4)]
"""CPU time as a fraction of one core."""
Celsius = Annotated[float, msgspec.Meta(ge=-273.15, le=1e4)]
Milliseconds = Annotated[float, msgspec.Meta(ge=0, le=1e3 * LONGEST_S)]
Microseconds = Annotated[float, msgspec.Meta(ge=0, le=1e6 * LONGEST_S)]
Megabytes = Annotated[float, msgspec.Meta(ge=0, le=MAX_MB)]
MegabytesMore = Annotated[float, msgspec.Meta(ge=-MAX_MB, le=MAX_MB)]
"""A difference of two amounts of memory."""
Sum = Annotated[float, msgspec.Meta(ge=0, le=MAX_SUM)]
"""A sum of numbers that are not negative."""
SignedSum = Annotated[float, msgspec.Meta(ge=-MAX_SUM, le=MAX_SUM)]
SquaredSum = Annotated[float, msgspec.Meta(ge=0, le=MAX_SQUARED_SUM)]
Whole64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
"""An integer that fits into 64 bits with its sign, as columns of tables hold it."""
