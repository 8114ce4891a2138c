from agent.transfer import MAX_STALLS, STALL_S, WINDOW_FIRST, WINDOW_MAX, Transfer
from contract.blobs import chunk_list, describe, parse_chunk_list, split

DATA = bytes(range(250)) * 4096
CHUNK = 1024
BLOB = describe(DATA, CHUNK)
CHUNKS = split(DATA, CHUNK)
DIGESTS = parse_chunk_list(chunk_list(DATA, CHUNK), BLOB)


def transfer(have: set[int] | None = None) -> Transfer:
    return Transfer(BLOB, DIGESTS, have or set(), now=0.0)


def deliver(made: Transfer, window: tuple[int, ...], now: float) -> None:
    for index in window:
        assert made.accepts(index, CHUNKS[index])
        made.arrived(index, now)


def test_it_asks_in_order_and_only_for_what_is_missing() -> None:
    assert transfer(have={0, 2}).ask(0.0) == (1, 3)


def test_one_window_is_in_flight_at_a_time() -> None:
    made = transfer()
    first = made.ask(0.0)
    assert len(first) == WINDOW_FIRST
    assert made.ask(0.0) == ()
    deliver(made, first, 0.01)
    assert made.ask(0.01)


def test_the_window_grows_on_a_fast_link_and_has_a_limit() -> None:
    made, now = transfer(), 0.0
    for _ in range(8):
        window = made.ask(now)
        now += 0.001
        deliver(made, window, now)
    assert len(made.ask(now)) == WINDOW_MAX


def test_on_a_slow_link_no_more_than_a_second_of_data_is_in_flight() -> None:
    made, now = transfer(), 0.0
    for _ in range(8):
        window = made.ask(now)
        now += len(window) * CHUNK / 3000
        deliver(made, window, now)
    assert len(made.ask(now)) <= 3


def test_damaged_duplicate_late_and_foreign_chunks_are_not_accepted() -> None:
    made = transfer()
    window = made.ask(0.0)
    assert not made.accepts(window[0], CHUNKS[window[0]][:-1])
    assert not made.accepts(window[-1] + 1, CHUNKS[window[-1] + 1])
    deliver(made, window, 0.1)
    assert not made.accepts(window[0], CHUNKS[window[0]])


def test_a_stall_is_noticed_retracted_and_counted_to_a_limit() -> None:
    made = transfer()
    window = made.ask(0.0)
    assert made.wake_at() == STALL_S
    assert not made.stalled(STALL_S - 0.1)
    assert made.stalled(STALL_S)
    assert made.retract() == window
    assert made.ask(STALL_S) == window
    assert [made.count_stall() for _ in range(MAX_STALLS)] == [False] * (MAX_STALLS - 1) + [True]


def test_an_arrival_forgives_earlier_stalls() -> None:
    made = transfer()
    window = made.ask(0.0)
    made.count_stall()
    deliver(made, window, 1.0)
    assert [made.count_stall() for _ in range(MAX_STALLS)][-2:] == [False, True]


def test_it_is_done_when_every_chunk_is_on_disk() -> None:
    made, now = transfer(), 0.0
    while not made.done:
        now += 0.01
        deliver(made, made.ask(now), now)
    assert made.have_bytes == BLOB.length


def test_a_blob_whose_chunks_all_survived_needs_nothing() -> None:
    made = transfer(have=set(range(BLOB.chunk_count)))
    assert made.done
    assert made.ask(0.0) == ()
