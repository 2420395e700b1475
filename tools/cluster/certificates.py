"""One certificate authority, and who it vouches for (kubernetes.io/docs/setup/best-practices/certificates).

`write` puts NAME.crt and NAME.key of every party into a folder, with ca.crt and the key that signs service account tokens.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tools.cluster import run

DAYS = 30
# Clocks of pods may be set back by tests.
BACKDATED = timedelta(days=2)


@dataclass(frozen=True)
class Party:
    """Whom a certificate names: a user (CN) in a group (O), or a server under `names`."""

    user: str
    group: str = ""
    names: tuple[str, ...] = ()


PARTIES = {
    "apiserver": Party(
        "kube-apiserver",
        names=(
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
            "kubernetes.default.svc.cluster.local",
            "localhost",
            "127.0.0.1",
            run.KUBERNETES_SERVICE,
            run.NODE_ADDRESS,
            run.POD_GATEWAY,
        ),
    ),
    "kubelet-server": Party(run.NODE, names=(run.NODE, run.NODE_ADDRESS)),
    "admin": Party("kubernetes-admin", "system:masters"),
    "apiserver-kubelet-client": Party("kube-apiserver-kubelet-client", "system:masters"),
    "controller-manager": Party("system:kube-controller-manager"),
    "scheduler": Party("system:kube-scheduler"),
    "kubelet": Party(f"system:node:{run.NODE}", "system:nodes"),
    "proxy": Party("system:kube-proxy"),
}


@dataclass(frozen=True)
class Authority:
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    def issue(self, party: Party, key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
        usage = ExtendedKeyUsageOID.SERVER_AUTH if party.names else ExtendedKeyUsageOID.CLIENT_AUTH
        builder = (
            begun(subject(party), self.certificate.subject, key)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        )
        if party.names:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([general_name(name) for name in party.names]), critical=False
            )
        return builder.sign(self.key, hashes.SHA256())


def write(folder: Path) -> None:
    """All certificates and keys, readable by the owner only."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    authority = new_authority()
    (folder / "ca.crt").write_bytes(pem(authority.certificate))
    for name, party in PARTIES.items():
        key = new_key()
        (folder / f"{name}.crt").write_bytes(pem(authority.issue(party, key)))
        (folder / f"{name}.key").write_bytes(private_pem(key))
    signer = new_key()
    (folder / "service-accounts.key").write_bytes(private_pem(signer))
    (folder / "service-accounts.pub").write_bytes(public_pem(signer))


def new_authority() -> Authority:
    key, name = new_key(), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sluice-cluster")])
    certificate = (
        begun(name, name, key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(signing_usage(), critical=True)
        .sign(key, hashes.SHA256())
    )
    return Authority(certificate, key)


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def begun(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + timedelta(days=DAYS))
    )


def subject(party: Party) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, party.user)]
    if party.group:
        attributes.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, party.group))
    return x509.Name(attributes)


def general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def signing_usage() -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )


def pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )


def public_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
