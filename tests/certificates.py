"""A certificate authority of the tests: like many a private one it writes no key identifiers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Authority:
    """Signs for a day. All of it is PEM."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Sluice test authority")])
        self.certificate = self.valid_from(datetime.now(UTC) - timedelta(hours=1))

    def valid_from(self, when: datetime) -> str:
        """Its certificate, valid from then on: to whom it is not yet valid, the clock is late."""
        constraints = x509.BasicConstraints(ca=True, path_length=0)
        made = builder(self._name, self._key, when).issuer_name(self._name).add_extension(constraints, critical=True)
        return pem(made.sign(self._key, hashes.SHA256()))

    def sign(self, host: str) -> tuple[str, str]:
        """Certificate and key of a server."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
        names = x509.SubjectAlternativeName([x509.DNSName(host)])
        made = (
            builder(name, key, datetime.now(UTC) - timedelta(hours=1))
            .issuer_name(self._name)
            .add_extension(names, critical=False)
        )
        plain, form = serialization.NoEncryption(), serialization.PrivateFormat.PKCS8
        secret = key.private_bytes(serialization.Encoding.PEM, form, plain)
        return pem(made.sign(self._key, hashes.SHA256())), secret.decode()


def builder(name: x509.Name, key: ec.EllipticCurvePrivateKey, begin: datetime) -> x509.CertificateBuilder:
    made = x509.CertificateBuilder(subject_name=name, public_key=key.public_key(), serial_number=x509.random_serial_number())
    return made.not_valid_before(begin).not_valid_after(begin + timedelta(days=2))


def pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()
