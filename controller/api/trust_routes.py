"""The routes of trust: what is signed, what waits for a signature, and taking what was signed elsewhere."""

from typing import Literal

import msgspec
from aiohttp import web

from contract.errors import BadInput, Code
from contract.protocol import MAX_METADATA_BYTES
from contract.trust import repository
from contract.wire import Message, decode
from controller.api import views
from controller.api.auth import actor_of
from controller.api.route import Route
from controller.api.service_key import SERVICE
from controller.service import stamp, today
from controller.trust.keys import make_next

MAX_OFFER_BYTES = 8 * MAX_METADATA_BYTES


class MetadataOffer(Message, frozen=True):
    """Documents that were signed elsewhere, by file name."""

    files: dict[str, str]


class KeyRequest(Message, frozen=True):
    """Ask the controller for the public half of a new key of its own."""

    role: Literal["snapshot", "timestamp", "director"]


async def show_trust(request: web.Request) -> views.TrustView:
    """Roles, and every document as it was signed."""
    service = request.app[SERVICE]
    files = service.authority.files
    unsigned = {name: waiting for name in service.registry.models() if (waiting := service.unsigned(name))}
    return views.TrustView(roles=repository.describe(files), files=files, unsigned=unsigned)


async def offer_metadata(request: web.Request) -> views.MetadataTaken:
    """Take documents that a device could follow."""
    service = request.app[SERVICE]
    offer = decode(await request.read(), MetadataOffer, max_bytes=MAX_OFFER_BYTES)
    taken = service.accept_metadata(offer.files)
    service.journal.audit(stamp(), actor_of(request), "trust accept", ", ".join(taken)[:300])
    return views.MetadataTaken(taken=taken)


async def make_key(request: web.Request) -> views.PublicKey:
    """Make the next key of an online role; its private half never leaves the controller."""
    service = request.app[SERVICE]
    role = decode(await request.read(), KeyRequest).role
    signer = make_next(service.config.data_dir / "keys", role, today())
    service.authority.keys.add(signer)
    public = signer.public_key
    service.journal.audit(stamp(), actor_of(request), "trust key", role, public.keyid)
    return views.PublicKey(keyid=public.keyid, key=public.to_dict())


async def propose_role(request: web.Request) -> views.RoleProposal:
    """What a release signer is asked to vouch for."""
    service = request.app[SERVICE]
    model = request.match_info["model"]
    manifests = service.publisher.manifests(model, service.in_use(model))
    if not manifests:
        raise BadInput(Code.NOT_RELEASED, f"no version of {model} has passed its gates")
    signed, floor = repository.released(service.authority.files, model)
    return views.RoleProposal(
        model=model,
        manifests={str(release): msgspec.to_builtins(manifest) for release, manifest in manifests.items()},
        signed=sorted(signed),
        min_release=floor,
        signers=sorted(repository.signers_of(service.authority.files, model)),
    )


TRUST_ROUTES = (
    Route("view", "GET", "/v1/trust", show_trust, "Who may say what, and what they said", views.TrustView, None),
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
