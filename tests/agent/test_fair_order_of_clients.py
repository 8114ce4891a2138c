"""Connections are served in turn: a client with an answer is served again only after clients without one."""

import selectors
import socket
from contextlib import ExitStack

from agent.adapters.http.server import _Turns

CLIENTS = 8
ROUNDS = 12


def test_every_client_is_answered_once_before_any_client_is_answered_twice() -> None:
    """As on a network: the next request of the client that was answered last arrives only after the selector has
    looked.
    """
    with ExitStack() as stack:
        turns = stack.enter_context(_Turns())
        pairs = [socket.socketpair() for _ in range(CLIENTS)]
        servers, clients = ([stack.enter_context(pair[side]) for pair in pairs] for side in (0, 1))
        for number, server in enumerate(servers):
            turns.register(server, selectors.EVENT_READ, number)
            clients[number].send(b"?")
        answered: list[int] = []
        last: list[int] = []
        for _ in range(ROUNDS):
            found = [key.data for key, _ in turns.select(1)]
            for number in found:
                servers[number].recv(1)
            for number in last + found[:-1]:
                clients[number].send(b"?")
            last = found[-1:]
            answered += found
        for at in range(0, len(answered) - CLIENTS + 1, CLIENTS):
            assert sorted(answered[at : at + CLIENTS]) == list(range(CLIENTS)), answered
