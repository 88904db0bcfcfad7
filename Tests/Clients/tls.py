"""What the tests of TLS share: handshakes made by Python's ssl module, and their counts."""

import socket
import ssl

from helpers import PATIENCE, eventually, request_bytes

V12, V13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
VERSIONS = {"TLSv1.2": V12, "TLSv1.3": V13}


def handshakes(server, **labels):
    return server.metric("herald_tls_handshakes_total", **labels)


def until_counted(server, before, **labels):
    eventually(lambda: handshakes(server, **labels) == before + 1, f"a handshake counted as {labels}")


def connect(secure, context, name="127.0.0.1", session=None):
    """A TLS socket whose handshake is over."""
    plain = socket.create_connection((secure.host, secure.port), PATIENCE)
    try:
        return context.wrap_socket(plain, server_hostname=name, session=session, suppress_ragged_eofs=False)
    except BaseException:
        plain.close()
        raise


def exchange(tls, target="/healthz"):
    """One request on a TLS socket, and the body of its answer."""
    tls.sendall(request_bytes("GET", target, {"Connection": "close"}))
    answer = b""
    while data := tls.recv(65536):
        answer += data
    assert answer.startswith(b"HTTP/1.1 200 "), answer[:200]
    return answer.partition(b"\r\n\r\n")[2]


def serial(secure, name="127.0.0.1"):
    """The serial number of the certificate that a client sees who asks for name."""
    context = secure.context()
    context.check_hostname = False
    with connect(secure, context, name) as tls:
        return int(tls.getpeercert()["serialNumber"], 16)
