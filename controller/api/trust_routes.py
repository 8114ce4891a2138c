"""The routes of trust: the signed documents, those that wait for a signature, and documents that were signed
elsewhere.
"""

from typing import Literal

import msgspec
from aiohttp import web

from contract.protocol import MAX_METADATA_BYTES
from contract.trust import repository
from contract.wire import Message, decode
from controller.api import operator_views as views
from controller.api.auth import actor_of
from controller.api.route import Route
from controller.api.state_key import STATE
from controller.trust.rotation import Role
from controller.verbs import trust

MAX_OFFER_BYTES = 8 * MAX_METADATA_BYTES


class MetadataOffer(Message, frozen=True):
    """Documents that were signed elsewhere, by file name."""

    files: dict[str, str]


class KeyRequest(Message, frozen=True):
    """A request for the public half of a new key of the controller's own."""

    role: Literal["snapshot", "timestamp", "director"]


async def show_trust(request: web.Request) -> views.TrustView:
    """Returns roles, and every document as it was signed."""
    state = request.app[STATE]
    files = state.trust_metadata.files
    unsigned = {name: waiting for name in state.registry.models() if (waiting := trust.unsigned(state, name))}
    return views.TrustView(roles=repository.describe(files), files=files, unsigned=unsigned)


async def offer_metadata(request: web.Request) -> views.MetadataTaken:
    """Accepts documents that were signed elsewhere, if a device could follow them."""
    offer = decode(await request.read(), MetadataOffer, max_bytes=MAX_OFFER_BYTES)
    taken = trust.accept_metadata(request.app[STATE], offer.files, actor=actor_of(request))
    return views.MetadataTaken(taken=taken)


async def make_key(request: web.Request) -> views.PublicKey:
    """Makes the next key of an online role; its private half never leaves the controller."""
    role = decode(await request.read(), KeyRequest).role
    public = trust.make_key(request.app[STATE], role, actor=actor_of(request))
    return views.PublicKey(keyid=public.keyid, key=public.to_dict())


class RotationRequest(Message, frozen=True):
    """A request to replace the key of a role with a new one of the controller, if it holds the keys that must sign."""

    role: Role


async def rotate_key(request: web.Request) -> views.PublicKey:
    """Replaces a key of a fleet whose keys this controller has made itself."""
    role = decode(await request.read(), RotationRequest).role
    public = trust.rotate(request.app[STATE], role, actor=actor_of(request))
    return views.PublicKey(keyid=public.keyid, key=public.to_dict())


async def propose_role(request: web.Request) -> views.RoleProposal:
    """Returns what a release signer is asked to sign."""
    state = request.app[STATE]
    model = request.match_info["model"]
    manifests = trust.proposal(state, model)
    signed, floor = repository.signed_releases(state.trust_metadata.files, model)
    return views.RoleProposal(
        model=model,
        manifests={str(release): msgspec.to_builtins(manifest) for release, manifest in manifests.items()},
        signed=sorted(signed),
        min_release=floor,
        signers=sorted(repository.signers_of(state.trust_metadata.files, model)),
    )


TRUST_ROUTES = (
    Route("view", "GET", "/v1/trust", show_trust, "Roles with their keys, and their documents", views.TrustView, None),
    Route(
        "admin",
        "PUT",
        "/v1/trust",
        offer_metadata,
        "Take signed metadata",
        views.MetadataTaken,
        MetadataOffer,
        max_body_bytes=MAX_OFFER_BYTES,
    ),
    Route("admin", "POST", "/v1/trust/keys", make_key, "Make the next online key", views.PublicKey, KeyRequest),
    Route("admin", "POST", "/v1/trust/rotate", rotate_key, "Replace a key", views.PublicKey, RotationRequest),
    Route(
        "view",
        "GET",
        "/v1/models/{model}/proposal",
        propose_role,
        "What waits for a signature",
        views.RoleProposal,
        None,
    ),
)
