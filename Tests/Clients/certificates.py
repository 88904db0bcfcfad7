"""Authorities and certificates for tests, made when they are needed."""

import datetime
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


def _name(text):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _general(name):
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _pem(key, passphrase=None):
    encryption = (
        serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    )
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


@dataclass(frozen=True)
class Pair:
    """A certificate's file and its key's."""

    certificate: Path
    key: Path
    serial: int

    def become(self, other):
        """Puts another's contents into these files, as a renewal does: each is replaced at once."""
        for mine, its in ((self.certificate, other.certificate), (self.key, other.key)):
            fresh = mine.with_suffix(".new")
            fresh.write_bytes(its.read_bytes())
            fresh.replace(mine)


class Authority:
    """Signs certificates; its own is in `file`."""

    def __init__(self, folder, name="Herald test authority"):
        self.folder = Path(folder)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._subject = _name(name)
        certificate = self._builder(self._subject, self._key.public_key()).add_extension(
            x509.BasicConstraints(ca=True, path_length=None), critical=True
        )
        self.file = self.folder / f"{name.replace(' ', '-')}.pem"
        self.file.write_bytes(self._sign(certificate).public_bytes(serialization.Encoding.PEM))

    def _builder(self, subject, public_key):
        now = datetime.datetime.now(datetime.timezone.utc)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._subject)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=30))
        )

    def _sign(self, builder):
        return builder.sign(self._key, hashes.SHA256())

    def issue(self, stem, *names, passphrase=None):
        """A certificate for these names (or the loopback's), and its key, in files that begin with stem."""
        key = ec.generate_private_key(ec.SECP256R1())
        wanted = names or ("localhost", "127.0.0.1")
        usage = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        certificate = self._sign(
            self._builder(_name(stem), key.public_key())
            .add_extension(x509.SubjectAlternativeName([_general(each) for each in wanted]), critical=False)
            .add_extension(x509.ExtendedKeyUsage(usage), critical=False)
        )
        pair = Pair(self.folder / f"{stem}.crt", self.folder / f"{stem}.key", certificate.serial_number)
        pair.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        pair.key.write_bytes(_pem(key, passphrase))
        return pair
