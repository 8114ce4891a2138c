"""Latency histograms with fixed edges, so that the counts of all devices and intervals can be added.

Edges grow by the square root of two from 1 microsecond to 64 seconds: a quantile is known to within 41 %.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from operator import add

LATENCY_BUCKETS = 54
_EDGES_US = tuple(2 ** (step / 2) for step in range(LATENCY_BUCKETS - 1))


def bucket_of(latency_us: float) -> int:
    """Returns the index of the bucket of `latency_us`; the last bucket has no upper edge."""
    return bisect_left(_EDGES_US, latency_us)


def upper_edge_us(bucket: int) -> float:
    """Returns the upper edge of a bucket in microseconds; infinity for the last."""
    return _EDGES_US[bucket] if bucket < len(_EDGES_US) else float("inf")


def merge(histograms: Iterable[Sequence[int]]) -> tuple[int, ...]:
    """Adds histograms, bucket by bucket. The sum has as many buckets as the longest; missing ones count as zero."""
    total: tuple[int, ...] = ()
    for counts in histograms:
        short, long = (total, counts) if len(total) <= len(counts) else (counts, total)
        total = (*map(add, short, long), *long[len(short) :])
    return total


def quantile_us(counts: Sequence[int], q: float) -> float | None:
    """Returns the upper edge in microseconds of the bucket that holds quantile `q` (0 to 1); None without samples."""
    total = sum(counts)
    if total == 0:
        return None
    seen = 0
    for bucket, count in enumerate(counts):
        seen += count
        if seen >= q * total:
            return upper_edge_us(bucket)
    return upper_edge_us(len(counts))


def trimmed(counts: Sequence[int]) -> tuple[int, ...]:
    """Returns the histogram without its trailing zeros, as it is sent."""
    end = len(counts)
    while end and counts[end - 1] == 0:
        end -= 1
    return tuple(counts[:end])
