"""Certificates of TLS: by name, renewed under way, tickets, clients' own, and what cannot be used."""

import signal
import ssl
import subprocess

import pytest

from certificates import Authority
from conftest import BINARY, herald_environment
from helpers import PATIENCE, EventStream, RawWebSocket, eventually
from tls import V12, VERSIONS, connect, exchange, handshakes, serial, until_counted


# Names.


def test_the_certificate_goes_by_the_name_that_is_asked_for(server_factory, authority):
    first = authority.issue("first", "first.test", "127.0.0.1")
    exact = authority.issue("exact", "www.second.test")
    wildcard = authority.issue("wildcard", "*.second.test")
    server = server_factory(pairs=[first, exact, wildcard])
    seen = {
        name: serial(server.secure, name)
        for name in (
            "first.test", "www.second.test", "WWW.Second.Test", "api.second.test", "second.test",
            "a.api.second.test", "unknown.test", "127.0.0.1",
        )
    }  # fmt: skip
    assert seen == {
        "first.test": first.serial,
        "www.second.test": exact.serial,
        "WWW.Second.Test": exact.serial,
        "api.second.test": wildcard.serial,
        "second.test": first.serial,
        "a.api.second.test": first.serial,
        "unknown.test": first.serial,
        "127.0.0.1": first.serial,
    }


# Tickets.


@pytest.mark.parametrize("version", VERSIONS)
def test_sessions_are_resumed(server_factory, authority, version):
    pair = authority.issue(f"resumed-{version}")
    server = server_factory(pairs=[pair])
    context = server.secure.context(version=VERSIONS[version])

    def resumed():
        return server.metric("herald_tls_handshakes_resumed_total", version=version)

    with connect(server.secure, context) as tls:
        exchange(tls)
        assert not tls.session_reused
        session = tls.session
    assert session.has_ticket
    with connect(server.secure, context, session=session) as tls:
        exchange(tls)
        assert tls.session_reused
        session = tls.session
    assert resumed() == 1

    old = serial(server.secure)
    pair.become(authority.issue(f"renewed-{version}"))
    eventually(lambda: serial(server.secure) != old, "the new certificate is used")
    with connect(server.secure, context, session=session) as tls:
        exchange(tls)
        assert tls.session_reused, "tickets from before the renewal are good"
    assert resumed() == 2


def test_a_ticket_of_another_server_is_passed_over(server_factory):
    secure, other = server_factory(tls=True).secure, server_factory(tls=True).secure
    context = secure.context(version=V12)
    with connect(secure, context) as tls:
        exchange(tls)
        session = tls.session
    with connect(other, context, session=session) as tls:
        exchange(tls)
        assert not tls.session_reused


# Renewal.


@pytest.mark.parametrize("how", ["file", "SIGHUP"])
def test_certificates_are_renewed_under_open_streams(server_factory, authority, topic, how):
    pair = authority.issue(f"before-{how}")
    server = server_factory(pairs=[pair])
    server.publish(topic)
    target = f"/v1/events/{topic}"
    with EventStream(server.secure, target) as stream, RawWebSocket(server.secure, target) as websocket:
        stream.read_block()
        assert websocket.read_json()["control"] == "welcome"
        fresh = authority.issue(f"after-{how}")
        pair.become(fresh)
        if how == "SIGHUP":
            server.signal(signal.SIGHUP)
            eventually(lambda: "certificates read again: SIGHUP" in server.log(), "the signal is logged")
        eventually(lambda: serial(server.secure) == fresh.serial, "new connections see the new certificate")
        published = server.publish(topic)["id"]
        assert stream.read_event()[1] == published
        assert websocket.read_json()["id"] == published


def test_files_that_cannot_be_used_change_nothing(server_factory, authority):
    pair = authority.issue("stays")
    before = pair.serial
    server = server_factory(pairs=[pair])
    pair.certificate.write_bytes(b"-----BEGIN CERTIFICATE-----\nnot base64\n-----END CERTIFICATE-----\n")
    eventually(
        lambda: "certificates not read again" in server.log() and str(pair.certificate) in server.log(),
        "the log names the file",
    )
    assert serial(server.secure) == before
    other = authority.issue("another")
    pair.certificate.write_bytes(other.certificate.read_bytes())
    eventually(lambda: f"{pair.key}: cannot be used as the key" in server.log(), "the log names the key's file")
    assert serial(server.secure) == before
    pair.key.unlink()
    server.signal(signal.SIGHUP)
    eventually(lambda: server.log().count(str(pair.key)) >= 2, "the log says that it is gone")
    assert serial(server.secure) == before
    pair.key.write_bytes(other.key.read_bytes())
    eventually(lambda: serial(server.secure) == other.serial, "files that fit are used again")


# Clients' certificates.


@pytest.fixture(scope="module")
def mutual(servers, authority, loopback_pair):
    flags = ["--tls-client-ca", authority.file]
    started = servers.start("mutual-tls", *flags, authority=authority, pairs=[loopback_pair])
    yield started
    servers.stop(started)


def ask_mutual(secure, version, pair=None):
    """In TLS 1.3 a client hears of a refusal only when it reads."""
    with connect(secure, secure.context(version=VERSIONS[version], pair=pair)) as tls:
        return exchange(tls)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_client_with_a_certificate(mutual, authority, version):
    assert ask_mutual(mutual.secure, version, authority.issue("client"))


@pytest.mark.parametrize("version", VERSIONS)
def test_a_client_without_a_certificate(mutual, version):
    before = handshakes(mutual, outcome="client_certificate")
    with pytest.raises((ssl.SSLError, ConnectionError)):
        ask_mutual(mutual.secure, version)
    until_counted(mutual, before, outcome="client_certificate")


@pytest.mark.parametrize("version", VERSIONS)
def test_a_client_with_a_certificate_of_another_authority(mutual, tmp_path, version):
    foreign = Authority(tmp_path, "foreign").issue("foreigner")
    before = handshakes(mutual, outcome="client_certificate")
    with pytest.raises((ssl.SSLError, ConnectionError)):
        ask_mutual(mutual.secure, version, foreign)
    until_counted(mutual, before, outcome="client_certificate")


@pytest.mark.parametrize("version", VERSIONS)
def test_an_authority_that_is_withdrawn(server_factory, authority, tmp_path, version):
    """A ticket stands for its client's certificate, too: it is of no more use than that."""
    trusted = tmp_path / "clients.pem"
    trusted.write_bytes(authority.file.read_bytes())
    server = server_factory("--tls-client-ca", trusted, tls=True)
    context = server.secure.context(version=VERSIONS[version], pair=authority.issue("withdrawn"))
    with connect(server.secure, context) as tls:
        exchange(tls)
        session = tls.session
    with connect(server.secure, context, session=session) as tls:
        exchange(tls)
        assert tls.session_reused, "as long as the authority is trusted"
    trusted.write_bytes(Authority(tmp_path, "another authority").file.read_bytes())
    eventually(lambda: "certificates read again" in server.log(), "the authorities are read again")
    with pytest.raises((ssl.SSLError, ConnectionError)), connect(server.secure, context, session=session) as tls:
        exchange(tls)


# Starting.


def refused_start(*flags):
    """What the server says as it does not start."""
    result = subprocess.run(
        [str(BINARY), "serve", "--listen", "127.0.0.1:0", *map(str, flags)],
        capture_output=True, text=True, timeout=PATIENCE, env=herald_environment(),
    )  # fmt: skip
    assert result.returncode not in (0, None) and result.returncode > 0, result
    assert "listening" not in result.stdout
    return result.stderr


def test_files_that_cannot_be_used_at_the_start(authority, tmp_path):
    good, other = authority.issue("good"), authority.issue("other")
    encrypted = authority.issue("encrypted", passphrase=b"secret")
    garbage, empty, missing = tmp_path / "garbage.pem", tmp_path / "empty.pem", tmp_path / "missing.pem"
    garbage.write_bytes(bytes(range(256)))
    empty.write_bytes(b"")
    for certificate, key, named in [
        (missing, good.key, missing),
        (good.certificate, missing, missing),
        (good.certificate, other.key, other.key),
        (encrypted.certificate, encrypted.key, encrypted.key),
        (garbage, good.key, garbage),
        (good.certificate, garbage, garbage),
        (empty, good.key, empty),
        (good.key, good.key, good.key),
        (tmp_path, good.key, tmp_path),
    ]:
        said = refused_start(
            "--tls-listen", "127.0.0.1:0", "--tls-certificate", certificate, "--tls-key", key
        )
        assert str(named) in said, (certificate, key, said)
    said = refused_start(
        "--tls-listen", "127.0.0.1:0", "--tls-certificate", good.certificate, "--tls-key", good.key,
        "--tls-client-ca", garbage,
    )  # fmt: skip
    assert str(garbage) in said


def test_settings_that_do_not_fit_together(server_factory, authority, loopback_pair):
    certificate, key = loopback_pair.certificate, loopback_pair.key
    address = ["--tls-listen", "127.0.0.1:0"]
    assert "tls-certificate" in refused_start(*address)
    assert "tls-key" in refused_start(*address, "--tls-certificate", certificate)
    idle = server_factory("--tls-certificate", certificate, "--tls-key", key)
    assert "means nothing without tls-listen" in idle.log()
    assert "tls-min-version" in refused_start(
        *address, "--tls-certificate", certificate, "--tls-key", key, "--tls-min-version", "1.1"
    )
