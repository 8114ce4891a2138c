import pytest

from agent.transfer.chunks import (
    FIRST_IN_FLIGHT,
    FLOOR_AFTER_S,
    MAX_IN_FLIGHT,
    MAX_STALLS,
    MIN_IN_FLIGHT,
    STALL_FIRST_S,
    STALL_S,
    Transfer,
)
from contract.blobs import Followed, chunk_list, describe, parse_chunk_list, split
from contract.errors import BadInput

DATA = bytes(range(250)) * 4096
CHUNK = 1024
BLOB = describe(DATA, CHUNK)
CHUNKS = split(DATA, CHUNK)
DIGESTS = parse_chunk_list(chunk_list(DATA, CHUNK), BLOB)


def followed(chunks: int = 0) -> Followed:
    found = Followed(BLOB, DIGESTS)
    assert all(found.follow(chunk) for chunk in CHUNKS[:chunks])
    return found


def transfer(have: int = 0, max_bytes_s: float = 0.0) -> Transfer:
    return Transfer(followed(have), 0.0, max_bytes_s)


def deliver(made: Transfer, asked: tuple[int, ...], now: float) -> None:
    for index in asked:
        assert made.arrived(index, CHUNKS[index], now)
        assert [each for each, _ in made.verified()] == [index]


def test_a_download_requests_missing_chunks_only_and_in_order() -> None:
    assert transfer(have=2).ask(0.0) == (2, 3)


def test_a_chunk_that_arrives_early_is_held_and_verified_in_its_turn() -> None:
    made = transfer()
    deliver(made, made.ask(0.0), 0.01)
    first, second, *_ = made.ask(0.01)
    assert made.arrived(second, CHUNKS[second], 0.02)
    assert list(made.verified()) == []
    assert not made.arrived(second, CHUNKS[second], 0.02), "it is no longer awaited"
    assert made.arrived(first, CHUNKS[first], 0.03)
    assert list(made.verified()) == [(first, CHUNKS[first]), (second, CHUNKS[second])]


def test_chunks_held_for_a_missing_one_are_limited_and_not_requested_again() -> None:
    made, now = transfer(), 0.0
    deliver(made, made.ask(now), now)
    lost, *others = made.ask(now)
    came = 0
    while others:
        for index in others:
            assert made.arrived(index, CHUNKS[index], now)
            assert list(made.verified()) == []
        came += len(others)
        now += 0.001
        others = list(made.ask(now))
    assert made.stalled(now + STALL_S)
    assert made.retract() == (lost,)
    again = made.ask(now + STALL_S)
    assert again[0] == lost
    assert again[1:] == tuple(range(lost + came + 1, lost + came + len(again)))
    assert came + len(again) <= MAX_IN_FLIGHT
    assert made.arrived(lost, CHUNKS[lost], now)
    assert len(list(made.verified())) == came + 1


def test_chunks_held_from_a_false_source_are_requested_again_elsewhere() -> None:
    made = transfer()
    deliver(made, made.ask(0.0), 0.01)
    first, *others = made.ask(0.01)
    for index in others:
        assert made.arrived(index, b"\0" * CHUNK, 0.02)
    made.distrust()
    made.retract()
    assert made.ask(0.02)[:2] == (first, others[0])


def test_a_chunk_with_wrong_bytes_counts_as_still_in_flight() -> None:
    made = transfer()
    asked = made.ask(0.0)
    assert made.arrived(0, CHUNKS[0][::-1], 0.1)
    with pytest.raises(BadInput):
        list(made.verified())
    assert made.awaits(0)
    assert made.stalled(0.1 + STALL_FIRST_S)
    assert made.retract() == asked


def test_more_chunks_are_requested_before_none_is_in_flight() -> None:
    made = transfer()
    first = made.ask(0.0)
    assert len(first) == FIRST_IN_FLIGHT
    assert made.ask(0.0) == ()
    deliver(made, first[:1], 0.01)
    assert made.ask(0.01), "the second chunk is still on its way"


def test_more_chunks_are_in_flight_on_a_fast_link_up_to_a_limit() -> None:
    made, now, widest = transfer(), 0.0, 0
    for _ in range(12):
        asked = made.ask(now)
        widest = max(widest, len(asked))
        now += 0.001
        deliver(made, asked, now)
    assert widest == MAX_IN_FLIGHT


def test_on_a_slow_link_at_most_one_second_of_data_is_in_flight() -> None:
    for rate, chunks in ((10_000, 9), (100, MIN_IN_FLIGHT)):
        made, now = transfer(), 0.0
        for _ in range(12):
            asked = made.ask(now)
            now += len(asked) * CHUNK / rate
            deliver(made, asked, now)
        assert chunks - 2 < len(made.ask(now)) <= chunks


def test_a_device_receives_no_faster_than_its_owner_allows() -> None:
    made, now, taken = transfer(max_bytes_s=10_000.0), 0.0, 0
    while now < 30.0:
        asked = made.ask(now)
        deliver(made, asked, now)
        taken += len(asked) * CHUNK
        now = max(now + 0.001, made.wake_at() or 0.0)
    assert 270_000 <= taken <= 310_000


def test_a_download_that_is_too_slow_ends_and_one_on_a_slow_working_link_does_not() -> None:
    for bytes_s, slow in ((100.0, True), (1000.0, False)):
        made, now = transfer(), 0.0
        while now < FLOOR_AFTER_S:
            for index in made.ask(now):
                now += CHUNK / bytes_s
                deliver(made, (index,), now)
        assert made.too_slow(now) == slow


def test_short_duplicate_late_and_foreign_chunks_are_not_accepted() -> None:
    made = transfer()
    asked = made.ask(0.0)
    assert not made.arrived(asked[0], CHUNKS[asked[0]][:-1], 0.0)
    assert not made.arrived(asked[-1] + 1, CHUNKS[asked[-1] + 1], 0.0)
    deliver(made, asked, 0.1)
    assert not made.arrived(asked[0], CHUNKS[asked[0]], 0.1)


def test_a_stall_is_noticed_retracted_and_counted_to_a_limit() -> None:
    made = transfer()
    asked = made.ask(0.0)
    assert made.wake_at() == STALL_FIRST_S
    assert not made.stalled(STALL_FIRST_S - 0.1)
    assert made.stalled(STALL_FIRST_S)
    assert made.retract() == asked
    assert made.ask(STALL_FIRST_S) == asked
    assert [made.count_stall() for _ in range(MAX_STALLS)] == [False] * (MAX_STALLS - 1) + [True]


def test_the_wait_for_a_stall_grows_with_the_measured_rate_and_with_each_stall() -> None:
    made = transfer()
    deliver(made, made.ask(0.0), 0.01)
    made.ask(0.01)
    assert made.wake_at() == 0.01 + STALL_S
    made.count_stall()
    assert made.wake_at() == 0.01 + 2 * STALL_S
    slow = transfer()
    deliver(slow, slow.ask(0.0), 100.0)
    slow.ask(100.0)
    assert slow.wake_at() == 100.0 + 4 * 100.0


def test_an_arriving_chunk_resets_the_count_of_stalls() -> None:
    made = transfer()
    asked = made.ask(0.0)
    made.count_stall()
    deliver(made, asked, 1.0)
    assert [made.count_stall() for _ in range(MAX_STALLS)][-2:] == [False, True]


def test_a_download_is_complete_when_every_chunk_is_on_disk() -> None:
    made, now = transfer(), 0.0
    while not made.done:
        now += 0.01
        deliver(made, made.ask(now), now)
    assert made.have_bytes == BLOB.length


def test_a_blob_with_all_chunks_on_disk_requests_nothing() -> None:
    made = transfer(have=BLOB.chunk_count)
    assert made.done
    assert made.ask(0.0) == ()


def test_time_without_a_link_or_outside_the_hours_counts_against_no_source() -> None:
    made = transfer()
    deliver(made, made.ask(0.0), 1.0)
    assert made.too_slow(2 * FLOOR_AFTER_S)
    made.rest(2 * FLOOR_AFTER_S)
    assert not made.too_slow(2 * FLOOR_AFTER_S + 1)
    limited = transfer(max_bytes_s=1000.0)
    limited.ask(0.0)
    limited.retract()
    limited.rest(500.0)
    assert len(limited.ask(500.0)) == 1, "what was not used yesterday is not taken at once today"
