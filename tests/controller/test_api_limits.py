"""The limits of the API on real sockets: bodies, slow callers, many callers, proxies, streams of ended tokens, refused
attempts.
"""

import asyncio
import base64
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from contract.enrolment import EnrolRequest, RenewRequest
from contract.signatures import renewal
from contract.wire import encode
from controller import cli
from controller.api.addresses import block_of, client_of
from controller.api.body import MAX_PUSHES, RESERVE_BYTES
from controller.clock import today
from controller.state import State
from controller.trust.certificates import pem
from controller.trust.refusals import MAX_KINDS, Refusal, Refusals
from tests.controller.door_world import LOCAL, MIB, Callers, data_dir, head, refused, talk, token

__all__ = ["data_dir"]


@pytest.mark.parametrize("path", ["/v1/enrol", "/v1/renew", "/v1/models/m/versions", "/v1/rollouts"])
def test_nothing_of_a_large_body_without_a_token_is_read(data_dir: Path, path: str) -> None:
    async def script(_: State, callers: Callers) -> bytes:
        return await callers.ask(head("POST", path, 1024 * MIB, Expect="100-continue"))

    found = talk(data_dir, script)
    assert b"100 Continue" not in found
    assert found.split(b" ")[1] in (b"401", b"413")


def test_a_body_without_a_length_is_cut_off_at_the_routes_limit(data_dir: Path) -> None:
    async def script(_: State, callers: Callers) -> bytes:
        raw = b"POST /v1/enrol HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
        return await callers.ask(raw + (b"4000\r\n" + b" " * 0x4000 + b"\r\n") * 4)

    assert talk(data_dir, script).startswith(b"HTTP/1.1 413 ")


def test_a_body_that_stops_half_way_is_ended(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controller.api.body.BODY_S", 0.05)

    async def script(_: State, callers: Callers) -> tuple[bytes, float]:
        began = time.monotonic()
        return await callers.ask(head("POST", "/v1/enrol", 100) + b"{"), time.monotonic() - began

    found, took_s = talk(data_dir, script)
    assert b'"request_slow"' in found
    assert took_s < 5


def test_a_push_that_arrives_too_slowly_is_ended_and_another_may_start(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("controller.api.body.BODY_S", 0.05)
    kind = "multipart/form-data; boundary=b"
    first = b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nabc'

    async def script(_: State, callers: Callers) -> list[bytes]:
        raw = head("POST", "/v1/models/m/versions", MIB, Authorization=f"Bearer {LOCAL}", Content_Type=kind) + first
        return [await callers.ask(raw) for _ in range(MAX_PUSHES + 1)]

    assert all(b'"request_slow"' in found for found in talk(data_dir, script))
    assert list((data_dir / "incoming").iterdir()) == []


def test_a_push_beyond_the_limit_waits_before_its_body_is_read(data_dir: Path) -> None:
    kind = "multipart/form-data; boundary=b"
    raw = head("POST", "/v1/models/m/versions", MIB, Authorization=f"Bearer {LOCAL}", Content_Type=kind)

    async def script(_: State, callers: Callers) -> bytes:
        held = [await callers.connect() for _ in range(MAX_PUSHES)]
        for _, writer in held:
            writer.write(raw)
            await writer.drain()
        await asyncio.sleep(0.2)
        try:
            return await callers.ask(raw)
        finally:
            for _, writer in held:
                writer.close()

    answer = talk(data_dir, script)
    assert b"503" in answer[:20]
    assert b'"busy"' in answer


def test_a_push_larger_than_the_free_disk_space_is_refused_before_its_body_is_read(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = "multipart/form-data; boundary=b"
    raw = head("POST", "/v1/models/m/versions", 100 * MIB, Authorization=f"Bearer {LOCAL}", Content_Type=kind)
    usage = shutil.disk_usage(data_dir.parent)._replace(free=RESERVE_BYTES + 99 * MIB)
    monkeypatch.setattr("controller.api.body.shutil.disk_usage", lambda _: usage)

    async def script(_: State, callers: Callers) -> bytes:
        return await callers.ask(raw)

    answer = talk(data_dir, script)
    assert b"503" in answer[:20]
    assert b'"disk_full"' in answer


def test_a_disk_that_fills_up_ends_a_push_before_the_reserve_is_used(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("controller.api.body.LOOK_EVERY_BYTES", 64 * 1024)
    left = iter([RESERVE_BYTES + 100 * MIB])
    monkeypatch.setattr(
        "controller.api.body.shutil.disk_usage",
        lambda _: shutil._ntuple_diskusage(1, 1, next(left, RESERVE_BYTES - 1)),  # type: ignore[attr-defined]
    )
    kind = "multipart/form-data; boundary=b"
    part = b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\n' + b"x" * MIB
    raw = head("POST", "/v1/models/m/versions", 90 * MIB, Authorization=f"Bearer {LOCAL}", Content_Type=kind) + part

    async def script(_: State, callers: Callers) -> bytes:
        return await callers.ask(raw)

    assert b'"disk_full"' in talk(data_dir, script)
    assert list((data_dir / "incoming").iterdir()) == []


@pytest.mark.parametrize("sent", [b"", b"GET /v1/health HTTP/1.1\r\nHost: localhost\r\nX-Slow: "])
def test_a_head_that_does_not_end_is_cut_off(data_dir: Path, monkeypatch: pytest.MonkeyPatch, sent: bytes) -> None:
    monkeypatch.setattr("controller.api.door.HEAD_S", 0.3)

    async def script(_: State, callers: Callers) -> bytes:
        return await callers.ask(sent, limit_s=5)

    assert talk(data_dir, script) == b""


def test_too_many_connections_from_one_address_are_refused_and_a_trusted_proxy_may_have_more(data_dir: Path) -> None:
    async def script(_: State, callers: Callers) -> int:
        held = [await callers.connect() for _ in range(4)]
        await asyncio.sleep(0.1)
        try:
            return await callers.status("GET", "/v1/openapi.json")
        finally:
            for _, writer in held:
                writer.close()

    assert talk(data_dir, script, max_connections_per_address=4) == 503
    assert talk(data_dir, script, max_connections_per_address=4, trusted_proxies=("127.0.0.1",)) == 200
    assert talk(data_dir, script, max_connections=4) == 503


def test_wrong_tokens_and_claims_of_others_do_not_refuse_a_valid_claim_or_renewal(data_dir: Path) -> None:
    async def script(state: State, callers: Callers) -> tuple[list[int], int]:
        wrong = [await callers.status("GET", "/v1/models", token="edg_00000000_x") for _ in range(25)]
        body = json.dumps({"certificate": "", "csr": "none", "signature": ""}).encode()
        return wrong, await callers.status("POST", "/v1/renew", body)

    wrong, renewal = talk(data_dir, script)
    assert wrong[-1] == 429
    assert renewal != 429


def test_a_valid_claim_and_a_valid_renewal_succeed_after_others_have_used_all_attempts(data_dir: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    csr = certificate_request(key)

    async def script(state: State, callers: Callers) -> list[int]:
        async def enrol(claim: str) -> int:
            return await callers.status("POST", "/v1/enrol", encode(EnrolRequest(token=claim, csr=csr)))

        async def renew(certificate: str, signature: str) -> int:
            asked = RenewRequest(certificate=certificate, csr=csr, signature=signature)
            return await callers.status("POST", "/v1/renew", encode(asked))

        held = pem(state.enrolment.enrol(state.enrolment.claim("cam-1", today()), csr, today()))
        good = state.enrolment.claim("cam-2", today())
        signature = base64.b64encode(key.sign(renewal(csr), ec.ECDSA(hashes.SHA256()))).decode()
        wrong = [(await enrol("edc_guess"), await renew(held, "AAAA")) for _ in range(25)]
        return [*wrong[0], *wrong[-1], await enrol(good), await renew(held, signature)]

    assert talk(data_dir, script) == [403, 403, 429, 429, 200, 200]


def certificate_request(key: ec.EllipticCurvePrivateKey) -> str:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "cam")])
    made = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    return made.public_bytes(serialization.Encoding.PEM).decode()


def test_callers_behind_a_trusted_proxy_have_their_own_buckets_and_others_cannot_imitate_them(data_dir: Path) -> None:
    async def script(state: State, callers: Callers) -> list[int]:
        async def wrong(said: str) -> int:
            return await callers.status("GET", "/v1/models", token="edg_00000000_x", X_Forwarded_For=said)

        for _ in range(21):
            last = await wrong("198.51.100.1")
        return [last, await wrong("198.51.100.2"), await wrong("198.51.100.9, 198.51.100.1")]

    assert talk(data_dir, script, trusted_proxies=("127.0.0.0/8",)) == [429, 401, 429]
    assert talk(data_dir, script) == [429, 429, 429]


def test_forwarded_addresses_are_read_from_the_right_and_only_through_trusted_proxies() -> None:
    trusted = ("10.0.0.0/8",)
    assert client_of("192.0.2.1", ["203.0.113.5"], trusted, "x-forwarded-for") == "192.0.2.1"
    assert client_of("10.0.0.1", ["1.1.1.1, 203.0.113.5, 10.0.0.2"], trusted, "x-forwarded-for") == "203.0.113.5"
    assert client_of("10.0.0.1", ["203.0.113.5, nonsense"], trusted, "x-forwarded-for") == "10.0.0.1"
    assert client_of("10.0.0.1", ['for="[2001:db8::1]:4711";proto=https'], trusted, "forwarded") == "2001:db8::1"
    assert block_of("2001:db8::1") == block_of("2001:db8::ffff") == "2001:db8::/64"
    assert block_of("::ffff:192.0.2.1") == "192.0.2.1"


@pytest.mark.parametrize("ends", ["revoked", "expired"])
def test_a_stream_ends_with_its_token_and_sends_nothing_afterwards(data_dir: Path, ends: str) -> None:
    async def script(state: State, callers: Callers) -> float:
        mine = token(state, "eve", days=1.0 if ends == "revoked" else 1.5 / 86_400)
        reader, writer = await callers.connect()
        writer.write(head("GET", "/v1/events", 0, Authorization=f"Bearer {mine}"))
        assert b"200 OK" in await reader.readuntil(b"\r\n\r\n")
        began = time.monotonic()
        if ends == "revoked":
            state.tokens.revoke(mine[4:12])
        assert await asyncio.wait_for(reader.read(), 8) in (b"", b"0\r\n\r\n")
        writer.close()
        return time.monotonic() - began

    assert talk(data_dir, script) < 5


def test_refused_attempts_are_audited_as_a_first_entry_and_a_count(data_dir: Path) -> None:
    async def script(state: State, callers: Callers) -> list[tuple[str, str, str]]:
        for _ in range(5):
            await callers.status("GET", "/v1/models", token="edg_00000000_x")
        await callers.status("POST", "/v1/models/m/versions", token=token(state, "eve"))
        return refused(state)

    found = talk(data_dir, script)
    assert ("127.0.0.1", "unauthenticated", "GET /v1/models") in found
    assert ("127.0.0.1", "unauthenticated", "4 more within a minute: GET /v1/models") in found
    assert ("eve", "forbidden", "POST /v1/models/m/versions") in found


def test_many_refused_attempts_add_few_audit_entries() -> None:
    counted = Refusals()
    written = [
        each for number in range(10_000) for each in counted.note(Refusal(str(number), "refused", "c", "d"), 1.0)
    ]
    assert len(written) == MAX_KINDS + 1
    assert [each.detail for each in counted.due(62.0)] == [
        f"{10_000 - MAX_KINDS - 1} more within a minute: more than can be told apart"
    ]


def test_the_data_directory_is_made_readable_by_its_owner_only(tmp_path: Path) -> None:
    (tmp_path / "d" / "blobs").mkdir(parents=True, mode=0o755)
    (tmp_path / "d" / "journal.sqlite").write_bytes(b"")
    (tmp_path / "d").chmod(0o755)
    cli.make_private(tmp_path / "d")
    paths = [tmp_path / "d", *(tmp_path / "d").rglob("*")]
    assert {path.stat().st_mode & 0o077 for path in paths} == {0}


def test_a_running_controller_writes_files_for_its_owner_only_under_any_umask(data_dir: Path) -> None:
    command = [sys.executable, "-c", "from controller.cli import main; main()", "run", "--data-dir", str(data_dir)]
    command += ["--port", "0", "--broker", "embedded", "--broker-port", "0"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, umask=0) as controller:
        try:
            until = time.monotonic() + 60
            while not (data_dir / "controller.json").exists() and time.monotonic() < until:
                time.sleep(0.1)
            modes = {str(path.relative_to(data_dir)): path.stat().st_mode & 0o077 for path in data_dir.rglob("*")}
        finally:
            controller.terminate()
    assert {"token", "controller.json", "journal.sqlite", "keys"} <= modes.keys()
    assert {name for name, mode in modes.items() if mode} == set()
