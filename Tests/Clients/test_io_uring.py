"""io_uring refused, when a ring is made or at its first use: the server goes on without, and nobody misses anything."""

import ctypes
import os
import platform
import re
import struct
from pathlib import Path

import pytest

from helpers import EventStream, RawConnection, RawWebSocket, eventually, request_bytes
from readers import open_reader

pytestmark = pytest.mark.skipif(platform.system() != "Linux", reason="the filter of system calls is Linux's")

# Numbers that all architectures share.
IO_URING_SETUP, IO_URING_ENTER = 425, 426
EPERM = 1
PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, SECCOMP_MODE_FILTER = 22, 38, 2
LOAD_WORD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
ERRNO, ALLOW = 0x00050000, 0x7FFF0000
READERS = 20
# Longer than a test is patient: what is missed shows as silence.
QUIET = ["--heartbeat", "10m"]


class Program(ctypes.Structure):
    """A `struct sock_fprog`."""

    _fields_ = [("count", ctypes.c_ushort), ("instructions", ctypes.c_char_p)]


def refusing(call):
    """A function that has the process, and what it becomes, get EPERM of a system call, as a container's rules do."""
    code = [
        (LOAD_WORD, 0, 0, 0),
        (JUMP_IF_EQUAL, 0, 1, call),
        (RETURN, 0, 0, ERRNO | EPERM),
        (RETURN, 0, 0, ALLOW),
    ]
    program = Program(len(code), b"".join(struct.pack("=HBBI", *each) for each in code))
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    prctl.argtypes = [ctypes.c_int, *[ctypes.c_ulong] * 4]

    def refuse():
        for arguments in (
            (PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
            (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.addressof(program), 0, 0),
        ):
            if prctl(*arguments) != 0:
                raise OSError(ctypes.get_errno(), "prctl")

    return refuse


def says_ring(server):
    """What the log says when the server is up: whether each loop has a ring."""
    said = eventually(lambda: re.search(r"io-uring=(true|false)", server.log()), "the log tells of io_uring")
    return said[1] == "true"


def rings(server):
    """How many io_urings the process holds."""
    links = []
    for each in Path(f"/proc/{server.pid}/fd").iterdir():
        try:
            links.append(os.readlink(each))
        except FileNotFoundError:
            pass
    return links.count("anon_inode:[io_uring]")


def open_streams(server, topic):
    """Live streams of both kinds, which have read their beginning."""
    target = f"/v1/events/{topic}"
    kinds = [EventStream, RawWebSocket] * (READERS // 2)
    readers = [kind(server, target) for kind in kinds]
    for reader in readers:
        if isinstance(reader, EventStream):
            reader.read_block()
        else:
            assert reader.read_json()["control"] == "welcome"
    server.until_readers(topic, READERS)
    return readers


def read_up_to(reader, last):
    """The ids of the events up to this one."""
    ids = []
    while last not in ids:
        ids.append(reader.read_event()[1] if isinstance(reader, EventStream) else reader.read_json().get("id"))
    return ids


def fan_out(server, topic):
    """Every reader gets every event, in order."""
    server.publish(topic)
    readers = open_streams(server, topic)
    published = [server.publish(topic, f"event {number}")["id"] for number in range(20)]
    published += server.publish_many([(topic, number) for number in range(30)])
    for reader in readers:
        assert read_up_to(reader, published[-1]) == published
        reader.close()


def answer_together(server, topic):
    """What many connections ask while the server is stopped, and so reads in one turn, is answered in order."""
    connections = [RawConnection(server) for _ in range(READERS)]
    for connection in connections:
        assert connection.exchange("GET", "/healthz").status == 200
    with server.suspended():
        for number, connection in enumerate(connections):
            requests = [
                request_bytes("POST", f"/v1/events/{topic}/{number}", {"Content-Type": "text/plain"}, b"x")
                for _ in range(3)
            ]
            connection.send(b"".join(requests) + request_bytes("GET", f"/v1/events/{topic}/{number}"))
    for connection in connections:
        published = [connection.read_response().json()["id"] for _ in range(3)]
        page = connection.read_response().json()
        assert [event["id"] for event in page["events"]] == published
        connection.close()


USES = [fan_out, answer_together]


def test_without_a_ring_the_server_works_and_says_so(server_factory, topic):
    server = server_factory("--loops", 2, *QUIET, preexec_fn=refusing(IO_URING_SETUP))
    assert not says_ring(server)
    assert rings(server) == 0
    for use in USES:
        use(server, f"{topic}/{use.__name__}")
    for transport in ("websocket", "sse", "longpoll", "shortpoll"):
        with open_reader(server, transport, f"{topic}/last") as reader:
            published = server.publish(f"{topic}/last")["id"]
            assert reader.read_event().id == published


@pytest.mark.parametrize("first", USES)
def test_a_ring_lost_at_its_first_use_costs_nobody_anything(server_factory, topic, first):
    server = server_factory("--loops", 1, *QUIET, preexec_fn=refusing(IO_URING_ENTER))
    if not says_ring(server):
        pytest.skip("there is no io_uring here")
    assert rings(server) == 1, "it is not used yet"
    first(server, topic)
    assert rings(server) == 0, "a ring that refused once is not asked again"
    for use in USES:
        use(server, f"{topic}/{use.__name__}")
    assert server.client.get("/healthz").status_code == 200
