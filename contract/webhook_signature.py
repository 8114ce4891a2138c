"""The three headers that prove to a receiver that a webhook is authentic and not repeated: Standard Webhooks 1.0.

Decides what is signed. Refuses to know how a request travels. Source: https://www.standardwebhooks.com.
"""

import base64
import hashlib
import hmac

from contract.errors import BadInput, Code

SECRET_PREFIX = "whsec_"  # noqa: S105 - how Standard Webhooks marks a secret


def signed_headers(body: bytes, secret: str, at: int) -> dict[str, str]:
    """Returns the three headers of Standard Webhooks. The id depends on the body, so that a repeated message is
    recognised.

    `secret` is base64, with or without the prefix `whsec_`; `at` is seconds since 1970. BadInput `config_invalid`.
    """
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except ValueError:
        raise BadInput(Code.CONFIG_INVALID, "secret_file: expected base64, after whsec_") from None
    name = f"msg_{hashlib.sha256(body).hexdigest()[:32]}"
    proof = hmac.new(key, f"{name}.{at}.".encode() + body, hashlib.sha256).digest()
    return {
        "webhook-id": name,
        "webhook-timestamp": str(at),
        "webhook-signature": f"v1,{base64.b64encode(proof).decode()}",
    }
