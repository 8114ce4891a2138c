"""Names, topics, blobs, tensors, samples, histograms."""

import io
import re
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from contract import topics
from contract.blobs import Followed, chunk_list, describe, parse_chunk_list, sha256_hex, sole_chunk, split
from contract.errors import BadInput, Code
from contract.golden import rows_differ
from contract.histogram import LATENCY_BUCKETS, bucket_of, merge, quantile_us, trimmed, upper_edge_us
from contract.names import check_device_name, check_name, parse_target_path, target_path
from contract.samples import decode_sample, encode_sample
from contract.stick import messages_file
from contract.tensors import decode_tensors, encode_tensors
from contract.tolerance import tolerance


@pytest.mark.parametrize("name", ["a", "cam-0001", "x" * 63, "0"])
def test_a_valid_name_is_accepted(name: str) -> None:
    assert check_name(name, "model") == name


@pytest.mark.parametrize("name", ["", "-a", "a-", "A", "a/b", "a+", "#", "a\n", "x" * 64, "..", "ä"])
def test_a_name_that_could_leave_its_topic_or_folder_is_refused(name: str) -> None:
    with pytest.raises(BadInput) as caught:
        check_name(name, "model")
    assert caught.value.code == Code.NAME_INVALID


FLEET_NAMES = ["cam-0001", "Pi_1", "b8:27:eb:12:34:56", "gate-3.plant.example.com", "SN0042-A", "x" * 64]


@pytest.mark.parametrize("name", FLEET_NAMES)
def test_names_as_in_real_fleets_are_valid_for_devices(name: str) -> None:
    assert check_device_name(name) == name
    assert topics.parse_up(topics.heartbeat(name)) == (name, "heartbeat")


@pytest.mark.parametrize(
    "name", ["", "Bad Name", "..", ".hidden", "-h", "a/b", "a+", "#", "a\n", "x" * 65, "ä", "svc.controller", "SVC.x"]
)
def test_an_invalid_device_name_is_refused_when_its_topic_is_parsed(name: str) -> None:
    with pytest.raises(BadInput) as caught:
        check_device_name(name)
    assert caught.value.code == Code.NAME_INVALID
    assert topics.parse_up(f"{topics.ROOT}/d/{name}/up/heartbeat") is None


def test_names_of_devices_become_distinct_file_names_that_every_file_system_accepts() -> None:
    files = {messages_file(name) for name in [*FLEET_NAMES, "PI_1", "pi_1"]}
    assert len({file.lower() for file in files}) == len(FLEET_NAMES) + 2
    assert all(re.fullmatch(r"from-[a-z0-9._%-]+\.json", file) and len(file) < 255 for file in files)
    assert messages_file("cam-1") == "from-cam-1.json", "as it was on sticks that were written before"


def test_a_target_path_is_read_as_it_was_written() -> None:
    assert parse_target_path(target_path("weather", 12)) == ("weather", 12)


@pytest.mark.parametrize(
    "path", ["models/m/v0.onnx", "models/m/v1.onnx\n", "models/../v1.onnx", "m/v1.onnx", "models/m/v1.pkl"]
)
def test_any_other_path_is_refused(path: str) -> None:
    with pytest.raises(BadInput):
        parse_target_path(path)


def test_messages_of_devices_are_distinguished_by_topic() -> None:
    assert topics.parse_up(topics.report("cam-1")) == ("cam-1", "report")
    assert topics.parse_up(topics.desired("cam-1")) is None
    assert topics.parse_up("edgeward/v1/d/a/up/report/x") is None


def test_blobs_are_outside_of_every_wildcard_subscription() -> None:
    digest = "ab" * 32
    assert not topics.chunk(digest, 0).startswith("edgeward/")
    assert topics.parse_blob(topics.chunk(digest, 7)) == (digest, 7)
    assert topics.parse_blob(topics.chunk_list(digest)) == (digest, None)
    assert topics.parse_blob(f"edgeward-blobs/v1/{digest}/-1") is None
    assert topics.parse_blob("edgeward-blobs/v1/../0") is None


@given(st.binary(min_size=1, max_size=10_000), st.integers(1024, 4096))
def test_joined_chunks_equal_the_blob(data: bytes, chunk_bytes: int) -> None:
    blob = describe(data, chunk_bytes)
    chunks = split(data, chunk_bytes)
    assert b"".join(chunks) == data
    assert len(chunks) == blob.chunk_count
    assert [len(chunk) for chunk in chunks] == [blob.span(index)[1] for index in range(blob.chunk_count)]
    digests = parse_chunk_list(chunk_list(data, chunk_bytes), blob)
    ends = [sum(map(len, chunks[: index + 1])) for index in range(len(chunks))]
    assert [digest.hex() for digest in digests] == [sha256_hex(data[:end]) for end in ends]
    followed = Followed(blob, digests)
    assert [followed.follow(chunk) for chunk in chunks] == [True] * len(chunks)
    assert followed.whole
    assert sole_chunk(blob) == (digests if len(chunks) == 1 else None)


def test_a_false_chunk_list_is_refused_although_it_is_signed() -> None:
    blob, other = describe(b"x" * 5000, 1024), chunk_list(b"y" * 5000, 1024)
    for claimed in (blob, replace(blob, chunks_sha256=sha256_hex(other))):
        with pytest.raises(BadInput) as caught:
            parse_chunk_list(other, claimed)
        assert caught.value.code == Code.CHUNK_INVALID


def test_only_the_next_chunk_with_its_exact_length_is_accepted() -> None:
    data = bytes(range(250)) * 20
    blob, chunks = describe(data, 1024), split(data, 1024)
    followed = Followed(blob, parse_chunk_list(chunk_list(data, 1024), blob))
    assert not followed.follow(chunks[1])
    assert followed.follow(chunks[0])
    assert not followed.follow(chunks[0])
    uneven = chunk_list(data, 2048) + sha256_hex(data).encode()  # a list whose entries end elsewhere
    lying = Followed(blob, tuple(uneven[at : at + 32] for at in range(0, 32 * blob.chunk_count, 32)))
    assert not lying.follow(data[:2048])


def test_the_same_arrays_give_the_same_bytes() -> None:
    arrays = {"a": np.arange(6.0).reshape(2, 3), "b": np.array(["x", "yy"])}
    assert encode_tensors(arrays) == encode_tensors(arrays)
    back = decode_tensors(encode_tensors(arrays))
    assert all((back[name] == array).all() for name, array in arrays.items())


def test_a_pickle_inside_npz_is_refused() -> None:
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=True, a=np.array([{"evil": 1}], dtype=object))
    with pytest.raises(BadInput) as caught:
        decode_tensors(buffer.getvalue())
    assert caught.value.code == Code.TENSORS_INVALID


def test_a_decompression_bomb_in_npz_is_refused_by_its_expanded_size() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", b"\0" * 10_000_000)
    assert len(buffer.getvalue()) < 100_000
    with pytest.raises(BadInput) as caught:
        decode_tensors(buffer.getvalue(), max_bytes=1_000_000)
    assert "expands" in caught.value.detail


@given(st.binary(max_size=300))
def test_no_bytes_crash_the_tensor_reader(raw: bytes) -> None:
    with pytest.raises(BadInput):
        decode_tensors(raw)


def test_a_sample_is_a_matrix_or_named_columns() -> None:
    matrix = np.eye(3)
    assert (decode_sample(encode_sample(matrix)) == matrix).all()
    columns = decode_sample(encode_sample({"b": np.array([1, 2]), "a": np.array(["x", "y"])}))
    assert list(columns) == ["b", "a"]


def test_a_sample_without_rows_is_refused() -> None:
    with pytest.raises(BadInput) as caught:
        decode_sample(encode_sample(np.empty((0, 3))))
    assert caught.value.code == Code.SAMPLE_MISSING


def test_labels_are_compared_by_equality_and_numbers_within_tolerance() -> None:
    assert list(rows_differ(np.array(["a", "b"]), np.array(["a", "c"]), rtol=1, atol=1)) == [False, True]
    close = rows_differ(np.array([[1.0], [np.nan], [2.0]]), np.array([[1.00001], [np.nan], [2.1]]), rtol=0, atol=1e-3)
    assert list(close) == [False, False, True]


@given(st.lists(st.floats(0.5, 6e7), min_size=1, max_size=50), st.floats(0.01, 1.0))
def test_a_quantile_is_known_to_one_bucket(latencies: list[float], q: float) -> None:
    counts = [0] * LATENCY_BUCKETS
    for latency in latencies:
        counts[bucket_of(latency)] += 1
    exact = sorted(latencies)[max(0, int(np.ceil(q * len(latencies))) - 1)]
    upper = quantile_us(trimmed(counts), q)
    assert upper is not None
    assert exact <= upper
    assert exact >= upper / 2**0.5 - 1e-9 or upper <= 1.0


def test_histograms_are_added_up() -> None:
    assert sum(merge([(1, 2), (0, 1, 5)])) == 9
    assert quantile_us((), 0.5) is None
    assert upper_edge_us(LATENCY_BUCKETS) == float("inf")


def test_the_tolerance_of_a_certain_classifier_is_a_fraction_of_the_spread_of_its_probabilities() -> None:
    noise = np.random.default_rng(0).uniform(0.0, 1e-6, (200, 10))
    sure = np.eye(10)[np.arange(200) % 10] + noise
    assert tolerance(sure, alone=False).min() > 2e-5, "not a part of the distance between quartiles of the noise"
    outliers = np.concatenate([noise[:, :1] * 1e6, [[1e9]]])
    assert tolerance(outliers, alone=True)[0] <= 1e-6 * 1e9, "of a regression one row far out widens no other's"
