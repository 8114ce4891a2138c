"""Which verified documents a device acts on, and with which code it refuses the others."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace

from agent.core.admission import HighWater, assign, check_document, told
from agent.core.events import DesiredChanged, DesiredRefused
from contract.blobs import describe
from contract.desired import Delivery, DesiredTarget, TrialPolicy
from contract.errors import BadInput, Code
from contract.manifest import Manifest, Variant
from contract.trust.verified import Desired, ModelRole, Wanted
from firmware_sim.fleet_keys import WORLD_BEGAN
from firmware_sim.models import make_model

NOW = WORLD_BEGAN
HOUR = timedelta(hours=1)
KEYS = ("k1",)
MANIFEST = make_model(3, "good").manifest
SMALL = describe(b"a smaller form", 1024)
WITH_VARIANT = replace(
    MANIFEST,
    variants=(
        Variant(name="fp16", artifact=SMALL, golden=MANIFEST.golden, runtime=MANIFEST.runtime, limits=MANIFEST.limits),
    ),
)
DELIVERY = Delivery(encoding="segments-1", blob=SMALL)
CUSTOM = DesiredTarget(
    model="m",
    generation=7,
    rollout="r-1",
    policy=TrialPolicy(soak_s=Decimal(5)),
    delivery=DELIVERY,
    sources=("http://10.0.0.2:80/{sha256}",),
)


def document(**changes: Any) -> Desired:
    made = Desired("cam-1", 4, "digest-4", NOW - HOUR, NOW + HOUR, "", ())
    return replace(made, **changes)


def check(
    made: Desired, high_water: HighWater | None = None, *, nonce: str = "", keyids: tuple[str, ...] = KEYS
) -> Any:
    """Returns the new high-water mark, or the code of the refusal."""
    try:
        return check_document(
            made, device="cam-1", high_water=high_water or HighWater(), keyids=keyids, now=NOW, nonce=nonce
        )
    except BadInput as error:
        return error.code


def marked(**changes: Any) -> HighWater:
    return replace(HighWater(keyids=KEYS, version=4, digest="digest-4", issued=NOW.isoformat()), **changes)


def want(manifest: Manifest = MANIFEST, **changes: Any) -> Wanted:
    return replace(Wanted("m", manifest.release, manifest.artifact.length, manifest.artifact.sha256, CUSTOM), **changes)


def assigned(
    made: Wanted, *, manifest: Manifest = MANIFEST, signed: int = 0, seen: int = 0, machine: str = "sim"
) -> Any:
    try:
        return assign(made, ModelRole({manifest.release: manifest}, signed), seen, machine)
    except BadInput as error:
        return error.code


def test_an_accepted_document_becomes_the_high_water_mark() -> None:
    expected = HighWater(keyids=KEYS, version=4, digest="digest-4", issued=(NOW - HOUR).isoformat())
    assert check(document()) == expected


def test_a_document_for_another_device_is_refused() -> None:
    assert check(document(device="cam-2")) == Code.WRONG_DEVICE


def test_a_document_is_valid_until_the_second_in_which_it_expires() -> None:
    assert check(document(expires=NOW)) == Code.DESIRED_EXPIRED
    assert isinstance(check(document(expires=NOW + timedelta(seconds=1))), HighWater)


def test_a_clock_that_was_put_back_makes_no_expired_document_valid_again() -> None:
    ahead = marked(version=3, issued=(NOW + 2 * HOUR).isoformat())
    assert check(document(expires=NOW + HOUR), ahead) == Code.DESIRED_EXPIRED
    assert isinstance(check(document(expires=NOW + 3 * HOUR), ahead), HighWater)


def test_the_time_floor_never_falls() -> None:
    assert check(document(version=5), marked()).issued == NOW.isoformat()
    newer = NOW + HOUR / 2
    assert check(document(version=5, issued=newer), marked()).issued == newer.isoformat()


def test_the_same_document_again_is_accepted_and_an_older_one_is_refused_as_a_rollback() -> None:
    assert check(document(), marked()).version == 4
    assert check(document(version=3), marked()) == Code.DESIRED_ROLLBACK


def test_two_documents_with_one_version_are_an_equivocation() -> None:
    assert check(document(digest="another"), marked()) == Code.DESIRED_EQUIVOCATION


def test_a_new_director_starts_with_no_history() -> None:
    poisoned = marked(keyids=("stolen",), version=99, issued=(NOW + 100 * HOUR).isoformat())
    found = check(document(), poisoned)
    assert found == HighWater(keyids=KEYS, version=4, digest="digest-4", issued=(NOW - HOUR).isoformat())


def test_a_device_that_sent_a_nonce_accepts_only_the_document_that_repeats_it() -> None:
    assert check(document(nonce="old"), nonce="new") == Code.DESIRED_NOT_FRESH
    assert isinstance(check(document(nonce="new"), nonce="new"), HighWater)
    assert isinstance(check(document(nonce="old")), HighWater)


def test_an_assignment_holds_everything_that_director_and_release_signer_signed() -> None:
    found = assigned(want())
    assert (found.model, found.generation, found.manifest) == ("m", 7, MANIFEST)
    assert (found.policy, found.delivery, found.sources) == (CUSTOM.policy, DELIVERY, CUSTOM.sources)


def test_a_release_that_no_signer_has_signed_is_refused() -> None:
    assert assigned(want(release=4)) == Code.NOT_IN_IMAGE_REPO


def test_digest_and_length_must_both_be_those_that_were_released() -> None:
    assert assigned(want(sha256="0" * 64)) == Code.IMAGE_MISMATCH
    assert assigned(want(length=MANIFEST.artifact.length + 1)) == Code.IMAGE_MISMATCH


def test_a_variant_is_assigned_as_if_it_were_the_only_form() -> None:
    found = assigned(want(sha256=SMALL.sha256, length=SMALL.length), manifest=WITH_VARIANT)
    assert (found.digest, found.manifest.variants) == (SMALL.sha256, ())
    mixed = want(sha256=SMALL.sha256, length=MANIFEST.artifact.length)
    assert assigned(mixed, manifest=WITH_VARIANT) == Code.IMAGE_MISMATCH


@pytest.mark.parametrize(("signed", "seen"), [(4, 0), (0, 4), (4, 1)])
def test_a_version_older_than_the_highest_signed_floor_may_not_run(signed: int, seen: int) -> None:
    assert assigned(want(), signed=signed, seen=seen) == Code.BELOW_MIN_RELEASE


def test_the_version_at_the_floor_may_run() -> None:
    assert assigned(want(), signed=3, seen=3).manifest == MANIFEST


def test_a_version_for_other_machines_is_refused() -> None:
    assert assigned(want(), machine="armv7l") == Code.WRONG_HARDWARE


def test_a_device_that_is_pinned_to_a_release_accepts_that_release_and_refuses_others() -> None:
    found = assigned(want())
    assert told(found, {}) == DesiredChanged(found)
    assert told(found, {"m": 3, "n": 1}) == DesiredChanged(found)
    refused = told(found, {"m": 2})
    assert isinstance(refused, DesiredRefused)
    assert (refused.assignment, refused.code) == (found, Code.PINNED)
    assert "v2" in refused.detail


def test_an_older_document_is_reported_as_a_restart_of_the_broker_before_it_is_reported_as_an_attack() -> None:
    with pytest.raises(BadInput) as caught:
        check_document(document(version=3), device="cam-1", high_water=marked(), keyids=KEYS, now=NOW)
    assert caught.value.code == Code.DESIRED_ROLLBACK
    assert "a broker that has restarted from an older store" in caught.value.detail
