"""Responses as bytes: the status line, the headers, and the body unless the request was HEAD.

Decides the headers of each response, also for old clients and for pages in a browser. Refuses to know sockets.
"""

from agent.serving.oip_messages import JSON_TYPE, Request, Response

PREFLIGHT_S = 600
"""Seconds for which a browser may cache the permission of a page to call."""
_JSON_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
_ANSWER_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\nEdgeward-Answer-Id: %b\r\n\r\n"
)
_MAY_SEND = "Content-Type, Inference-Header-Content-Length, Content-Encoding"
_MAY_READ = "Inference-Header-Content-Length, Edgeward-Answer-Id"
_REASONS = {
    200: "OK",
    204: "No Content",
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    409: "Conflict",
    413: "Content Too Large",
    415: "Unsupported Media Type",
    421: "Misdirected Request",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    501: "Not Implemented",
    503: "Service Unavailable",
}


def response_bytes(response: Response, request: Request) -> bytes:
    """Returns the bytes to send. The usual response, 200 with JSON and no special header, takes a fast path."""
    if request.plain and response.status == 200 and response.content_type is JSON_TYPE and not response.headers:
        if response.answer_id:
            return _ANSWER_HEAD % (len(response.body), response.answer_id.encode("ascii")) + response.body
        return _JSON_HEAD % len(response.body) + response.body
    lines = [f"HTTP/1.1 {response.status} {_REASONS.get(response.status, 'Unknown')}"]
    if response.status != 204:
        lines += [f"Content-Type: {response.content_type}", f"Content-Length: {len(response.body)}"]
    if response.json_length is not None:
        lines.append(f"Inference-Header-Content-Length: {response.json_length}")
    if response.answer_id:
        lines.append(f"Edgeward-Answer-Id: {response.answer_id}")
    lines += response.headers
    if request.origin:
        lines += _for_pages(request.origin.decode("latin-1"), request.method)
    if not request.keep_alive or not request.plain:
        lines.append(f"Connection: {'keep-alive' if request.keep_alive else 'close'}")
    head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
    return head if request.method == "HEAD" else head + response.body


def _for_pages(origin: str, method: str) -> list[str]:
    """Returns headers by which a browser allows the page to read the response or to send its request."""
    lines = [f"Access-Control-Allow-Origin: {origin}", "Vary: Origin", f"Access-Control-Expose-Headers: {_MAY_READ}"]
    if method == "OPTIONS":
        lines += ["Access-Control-Allow-Methods: GET, HEAD, POST", f"Access-Control-Allow-Headers: {_MAY_SEND}"]
        lines.append(f"Access-Control-Max-Age: {PREFLIGHT_S}")
    return lines
