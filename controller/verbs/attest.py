"""The fleet's statement about golden sets: pages of devices with their signed heartbeats, signed by the newest
authority.

Decides which devices and versions a page names. Refuses to know how it is checked.
"""

import time

from contract.attestation import (
    MAX_DEVICES_OF_A_PAGE,
    AttestationPage,
    AttestedDevice,
    AttestedVersion,
    Statement,
    signed_bytes,
)
from contract.keys import signer_of
from contract.wire import encode
from controller.state import State
from controller.trust.keys import private_pem


def attestation_page(state: State, after: str = "") -> AttestationPage:
    """Returns the page of the devices whose names follow `after`."""
    now = time.time()
    heartbeats = state.journal.last_words_after(after, MAX_DEVICES_OF_A_PAGE)
    devices = tuple(
        AttestedDevice(
            device=device,
            public_keys=tuple(state.credentials.public_keys(device, now)),
            heartbeat=body.decode(),
        )
        for device, body in heartbeats
        if device in state.world.durable.twins
    )
    following = heartbeats[-1][0] if len(heartbeats) == MAX_DEVICES_OF_A_PAGE else ""
    stated = Statement(made_at=now, after=after, next=following, versions=_versions(state), devices=devices)
    text = encode(stated).decode()
    authority = state.enrolment.authorities.issuing
    return AttestationPage(
        statement=text,
        authority=authority.pem,
        signature=signer_of(private_pem(authority.key))(signed_bytes(text)),
    )


def _versions(state: State) -> tuple[AttestedVersion, ...]:
    """Returns the versions that any device reports as its stable one, each in the form that it has."""
    said = {
        (model, each.stable.release, each.stable.digest)
        for twin in state.world.durable.twins.values()
        for model, each in twin.reported.items()
        if each.stable is not None
    }
    found = []
    for model, release, digest in sorted(said):
        if digest not in state.registry.registered.get(model, {}).get(release, ()):
            continue
        forms = state.registry.version(model, release).manifest.forms
        golden = next(form.golden for form in forms if form.artifact.sha256 == digest)
        found.append(
            AttestedVersion(model=model, release=release, digest=digest, golden=golden.blob.sha256, rows=golden.rows)
        )
    return tuple(found)
