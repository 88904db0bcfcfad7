"""Tokens (RFC 7515, RFC 7518) by Python's own hashes and the cryptography library: none of the server's code."""

import base64
import hashlib
import hmac
import json

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

HASHES = {"256": hashes.SHA256, "384": hashes.SHA384, "512": hashes.SHA512}
CURVES = {"ES256": (ec.SECP256R1, 32), "ES384": (ec.SECP384R1, 48), "ES512": (ec.SECP521R1, 66)}


def make_key(algorithm):
    """A private key for an algorithm."""
    if algorithm in CURVES:
        return ec.generate_private_key(CURVES[algorithm][0]())
    return ed25519.Ed25519PrivateKey.generate() if algorithm == "EdDSA" else rsa.generate_private_key(65537, 2048)


def private_pem(key):
    kind = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return key.private_bytes(*kind)


def public_pem(key):
    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unbase64url(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def key_set(**keys):
    """A JSON Web Key Set of P-256 keys by their names."""
    items = []
    for name, key in keys.items():
        numbers = key.public_key().public_numbers()
        x, y = (base64url(number.to_bytes(32, "big")) for number in (numbers.x, numbers.y))
        items.append({"kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": name, "use": "sig"})
    return json.dumps({"keys": items}).encode()


def _padding(algorithm, digest):
    if algorithm.startswith("RS"):
        return padding.PKCS1v15()
    return padding.PSS(padding.MGF1(digest), digest.digest_size)


def signature(text, key, algorithm):
    if algorithm == "none":
        return b""
    if algorithm == "EdDSA":
        return key.sign(text)
    if algorithm.startswith("HS"):
        return hmac.new(key, text, "sha" + algorithm[2:]).digest()
    digest = HASHES[algorithm[2:]]()
    if algorithm in CURVES:
        length = CURVES[algorithm][1]
        return b"".join(
            number.to_bytes(length, "big") for number in decode_dss_signature(key.sign(text, ec.ECDSA(digest)))
        )
    return key.sign(text, _padding(algorithm, digest), digest)


def is_good(signed, text, key, algorithm):
    """Whether a signature is that of a secret or of a private key's public half."""
    try:
        if algorithm.startswith("HS"):
            return hmac.compare_digest(signature(text, key, algorithm), signed)
        public = key.public_key()
        if algorithm == "EdDSA":
            public.verify(signed, text)
        elif algorithm in CURVES:
            length = CURVES[algorithm][1]
            numbers = (int.from_bytes(part, "big") for part in (signed[:length], signed[length:]))
            public.verify(encode_dss_signature(*numbers), text, ec.ECDSA(HASHES[algorithm[2:]]()))
        else:
            digest = HASHES[algorithm[2:]]()
            public.verify(signed, text, _padding(algorithm, digest), digest)
    except InvalidSignature:
        return False
    return True


def encode(claims, key, algorithm, **header):
    """A token of claims, signed with a secret (bytes) or a private key."""
    parts = ({"alg": algorithm, "typ": "JWT", **header}, claims)
    text = ".".join(base64url(json.dumps(part).encode()) for part in parts)
    return text + "." + base64url(signature(text.encode(), key, algorithm))


def decode(token, key, algorithm):
    """The header and the claims of a token, whose signature has to be good."""
    head, body, signed = token.split(".")
    header = json.loads(unbase64url(head))
    assert header["alg"] == algorithm
    assert is_good(unbase64url(signed), f"{head}.{body}".encode(), key, algorithm), "the signature is wrong"
    return header, json.loads(unbase64url(body))


def digest_of(text):
    return hashlib.sha256(text.encode()).hexdigest()
