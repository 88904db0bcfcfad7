"""`herald token`: what it makes is a token for libraries that are not ours, and it reads what they make."""

import base64
import http.server
import json
import subprocess
import threading
import time

import pytest
import yaml
from cryptography.hazmat.primitives import serialization

import tokens
from certificates import Authority
from conftest import BINARY, herald_environment
from helpers import PATIENCE

SECRET = b"a secret that is long enough for all three of the algorithms, 64+"
CLAIMS = {"sub": "alice", "herald": {"publish": ["a/*"], "subscribe": ["a/**"]}}

def herald(*arguments, input=None):
    return subprocess.run(
        [str(BINARY), "token", *map(str, arguments)],
        input=input,
        stdin=subprocess.DEVNULL if input is None else None,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env=herald_environment(),
    )


def succeed(*arguments, input=None):
    result = herald(*arguments, input=input)
    assert result.returncode == 0, (result.stdout, result.stderr)
    return result.stdout


def inspect(token, *arguments):
    """The exit code of `herald token inspect` and the line that says what the token is worth."""
    result = herald("inspect", token, *arguments)
    return result.returncode, result.stdout.splitlines()[-1] if result.stdout else result.stderr


@pytest.fixture
def secret_file(tmp_path):
    path = tmp_path / "secret"
    path.write_bytes(SECRET + b"\n")
    return path


def key_files(tmp_path, key):
    private, public = tmp_path / "private.pem", tmp_path / "public.pem"
    private.write_bytes(tokens.private_pem(key))
    public.write_bytes(tokens.public_pem(key))
    return private, public


class KeyServer:
    """Serves one document, or answers as it is told."""

    def __init__(self):
        self.document, self.status, self.requests = b"", 200, []
        owner = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                owner.requests.append(dict(self.headers))
                self.send_response(owner.status)
                if owner.status in (301, 302, 307):
                    self.send_header("Location", "/elsewhere")
                self.send_header("ETag", '"1"')
                self.send_header("Content-Length", str(len(owner.document)))
                self.end_headers()
                self.wfile.write(owner.document)

            def log_message(self, *arguments):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server.server_port}/keys"

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def key_server():
    server = KeyServer()
    yield server
    server.close()


def test_a_token_is_one_for_other_libraries(secret_file):
    before = int(time.time())
    out = succeed(
        "make", "--secret-file", secret_file, "--sub", "alice", "--publish", "a/*", "--subscribe", "a/**",
        "--subscribe", "b", "--manage", "**", "--expires", "1h", "--not-before", "5s", "--issuer", "us",
        "--audience", "them",
    )  # fmt: skip
    assert out.count("\n") == 1
    _, claims = tokens.decode(out.strip(), SECRET, "HS256")
    assert claims.pop("herald") == {"publish": ["a/*"], "subscribe": ["a/**", "b"], "manage": ["**"]}
    assert len(claims.pop("jti")) > 20
    made = claims.pop("iat")
    assert before <= made <= time.time()
    assert claims == {"sub": "alice", "iss": "us", "aud": "them", "exp": made + 3600, "nbf": made + 5}


def test_names_of_tokens_are_random(secret_file):
    made = [succeed("make", "--secret-file", secret_file).strip() for _ in range(3)]
    assert len({tokens.decode(token, SECRET, "HS256")[1]["jti"] for token in made}) == 3
    token = succeed("make", "--secret-file", secret_file, "--jti", "7", "--kid", "k").strip()
    header, claims = tokens.decode(token, SECRET, "HS256")
    assert (header["kid"], claims["jti"]) == ("k", "7")


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
def test_each_algorithm_of_a_secret(secret_file, algorithm):
    token = succeed("make", "--secret-file", secret_file, "--algorithm", algorithm).strip()
    assert tokens.decode(token, SECRET, algorithm)[1]["herald"] == {}
    assert inspect(tokens.encode(CLAIMS, SECRET, algorithm), "--secret-file", secret_file)[0] == 0


@pytest.mark.parametrize("algorithm", ["ES256", "ES384", "ES512", "EdDSA", "RS256", "PS512"])
def test_each_kind_of_key(tmp_path, algorithm):
    key = tokens.make_key(algorithm)
    private, public = key_files(tmp_path, key)
    token = succeed("make", "--key-file", private, "--algorithm", algorithm, "--publish", "a").strip()
    assert tokens.decode(token, key, algorithm)[1]["herald"] == {"publish": ["a"]}
    assert inspect(tokens.encode(CLAIMS, key, algorithm), "--key-file", public)[0] == 0
    other = tokens.encode(CLAIMS, tokens.make_key(algorithm), algorithm)
    assert inspect(other, "--key-file", public)[0] == 1


def test_a_certificate_is_a_public_key(tmp_path):
    pair = Authority(tmp_path).issue("issuer", "localhost")
    key = serialization.load_pem_private_key(pair.key.read_bytes(), None)
    assert inspect(tokens.encode(CLAIMS, key, "ES256"), "--key-file", pair.certificate)[0] == 0
    other = tokens.encode(CLAIMS, tokens.make_key("ES256"), "ES256")
    assert inspect(other, "--key-file", pair.certificate)[0] == 1


def test_a_token_is_shown():
    claims = {**CLAIMS, "exp": 1000000000, "note": "\x1b[31mred\nline"}
    shown = succeed("inspect", tokens.encode(claims, SECRET, "HS256", kid="k1"))
    for text in ('alg        "HS256"', 'kid        "k1"', 'sub        "alice"', "2001-09-09T01:46:40Z", " ago", "a/**"):
        assert text in shown, shown
    assert "\x1b" not in shown and r"\u001b[31mred\nline" in shown
    assert shown.splitlines()[-1].startswith("NOT CHECKED")


def test_a_token_is_read_from_standard_input(secret_file):
    token = tokens.encode(CLAIMS, SECRET, "HS256")
    for arguments in ([], ["-"]):
        assert "VALID: " in succeed("inspect", *arguments, "--secret-file", secret_file, input=token + "\n")


@pytest.mark.parametrize(
    ("claims", "secret", "arguments", "named"),
    [
        (CLAIMS, b"another secret, which is just as long as the first one was", [], "signature"),
        ({**CLAIMS, "exp": 1000000000}, SECRET, [], "expired"),
        ({**CLAIMS, "nbf": 9000000000}, SECRET, [], "not valid yet"),
        ({**CLAIMS, "iss": "me"}, SECRET, ["--issuer", "us"], "issuer"),
        ({**CLAIMS, "aud": "me"}, SECRET, ["--audience", "them"], "audience"),
        ({"herald": {"publish": ["a/**/b"]}}, SECRET, [], "herald.publish"),
        ({"sub": "alice"}, SECRET, [], '"herald"'),
    ],
)
def test_what_is_wrong_is_named(secret_file, claims, secret, arguments, named):
    code, line = inspect(tokens.encode(claims, secret, "HS256"), "--secret-file", secret_file, *arguments)
    assert code == 1 and line.startswith("INVALID: ") and named in line, line


def test_forged_algorithms_are_refused(tmp_path, secret_file):
    _, public = key_files(tmp_path, tokens.make_key("RS256"))
    unsigned = tokens.encode(CLAIMS, None, "none")
    assert inspect(unsigned, "--secret-file", secret_file, "--key-file", public)[0] == 1
    # The public key's text, which anybody has, as a secret.
    forged = tokens.encode(CLAIMS, public.read_bytes(), "HS256")
    assert inspect(forged, "--key-file", public)[0] == 1
    assert "VALID: " not in herald("inspect", forged, "--secret-file", public).stdout


@pytest.mark.parametrize("text", ["", "a.b", "a.b.c", "e30.e30", "not a token"])
def test_what_is_no_token_is_said(text, secret_file):
    result = herald("inspect", "-", "--secret-file", secret_file, input=text)
    assert result.returncode == 1
    assert "no JSON Web Token" in result.stderr and not result.stdout


def test_a_key_set_is_fetched(key_server):
    one, other = (tokens.make_key("ES256") for _ in range(2))
    key_server.document = tokens.key_set(k1=one, k2=other)
    for name, key, code in (("k1", one, 0), ("k2", other, 0), ("k2", one, 1), ("k3", one, 1)):
        token = tokens.encode(CLAIMS, key, "ES256", kid=name)
        assert inspect(token, "--jwks", key_server.url)[0] == code, name
    assert key_server.requests[0]["User-Agent"].startswith("herald/")


@pytest.mark.parametrize(
    ("status", "document"), [(404, b""), (302, b""), (200, b"{}"), (200, b" " * (1 << 20) + b"{}"), (500, b"")]
)
def test_a_key_set_that_is_none_is_said(key_server, status, document):
    key_server.status, key_server.document = status, document
    token = tokens.encode(CLAIMS, tokens.make_key("ES256"), "ES256")
    result = herald("inspect", token, "--jwks", key_server.url)
    assert result.returncode == 1
    assert "could not be fetched" in result.stderr and "VALID: " not in result.stdout
    assert len(key_server.requests) == 1


def test_secrets_of_a_key_set_do_not_count(key_server):
    secret = {"kty": "oct", "k": tokens.base64url(SECRET), "alg": "HS256"}
    key_server.document = json.dumps({"keys": [secret]}).encode()
    assert herald("inspect", tokens.encode(CLAIMS, SECRET, "HS256"), "--jwks", key_server.url).returncode == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["make"],
        ["make", "--secret-file", "a", "--key-file", "b"],
        ["make", "--secret-file", "a", "--publish", "a//b"],
        ["make", "--secret-file", "a", "--expires", "soon"],
        ["make", "--secret-file", "a", "--expires", "0s"],
        ["key"],
        ["key", "--name", "ci", "--publish", "a/**/b"],
    ],
)
def test_a_mistaken_call_is_refused(arguments):
    result = herald(*arguments)
    assert result.returncode == 64 and not result.stdout, (result.stdout, result.stderr)


def test_keys_that_cannot_be_used_are_said(tmp_path, secret_file):
    short = tmp_path / "short"
    short.write_text("hunter2")
    private, public = key_files(tmp_path, tokens.make_key("ES256"))
    for arguments in (
        ["make", "--secret-file", short],
        ["make", "--secret-file", tmp_path / "missing"],
        ["make", "--key-file", public],
        ["make", "--key-file", private, "--algorithm", "RS256"],
        ["make", "--secret-file", secret_file, "--algorithm", "none"],
    ):
        result = herald(*arguments)
        assert result.returncode == 1 and not result.stdout and "hunter2" not in result.stderr, arguments
        assert result.stderr.startswith("herald: "), result.stderr


def test_an_api_key_and_its_entry():
    result = herald("key", "--name", 'ci "1"', "--publish", "orders/**", "--subscribe", "a", "--subscribe", "*")
    assert result.returncode == 0
    key = result.stdout.removesuffix("\n")
    assert key.startswith("hk_") and len(base64.urlsafe_b64decode(key[3:] + "=")) == 32
    assert yaml.safe_load(result.stderr) == [
        {
            "name": 'ci "1"',
            "sha256": tokens.digest_of(key),
            "publish": ["orders/**"],
            "subscribe": ["a", "*"],
        }
    ]
