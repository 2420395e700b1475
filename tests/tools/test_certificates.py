"""The cluster's certificates: who is named, by whom, and who may read the keys."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID
from tools.cluster import certificates, run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("tls") / "certificates"
    certificates.write(target)
    return target


def loaded(folder: Path, name: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate((folder / f"{name}.crt").read_bytes())


def names(certificate: x509.Certificate) -> set[str]:
    extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {*extension.get_values_for_type(x509.DNSName), *map(str, extension.get_values_for_type(x509.IPAddress))}


def attribute(certificate: x509.Certificate, oid: x509.ObjectIdentifier) -> list[str | bytes]:
    return [attribute.value for attribute in certificate.subject.get_attributes_for_oid(oid)]


def test_the_api_server_is_called_what_its_clients_call_it(folder: Path) -> None:
    assert names(loaded(folder, "apiserver")) >= {
        "kubernetes",
        "kubernetes.default.svc",
        "localhost",
        "127.0.0.1",
        run.KUBERNETES_SERVICE,
        run.NODE_ADDRESS,
        run.POD_GATEWAY,
    }


def test_the_kubelet_is_called_by_its_address(folder: Path) -> None:
    assert run.NODE_ADDRESS in names(loaded(folder, "kubelet-server"))


@pytest.mark.parametrize(
    ("party", "user", "groups"),
    [
        ("admin", "kubernetes-admin", ["system:masters"]),
        ("kubelet", f"system:node:{run.NODE}", ["system:nodes"]),
        ("controller-manager", "system:kube-controller-manager", []),
        ("scheduler", "system:kube-scheduler", []),
        ("proxy", "system:kube-proxy", []),
    ],
)
def test_users_are_those_that_kubernetes_has_rights_for(folder: Path, party: str, user: str, groups: list[str]) -> None:
    certificate = loaded(folder, party)
    assert attribute(certificate, NameOID.COMMON_NAME) == [user]
    assert attribute(certificate, NameOID.ORGANIZATION_NAME) == groups


@pytest.mark.parametrize("party", certificates.PARTIES)
def test_everybody_is_vouched_for_by_the_one_authority(folder: Path, party: str) -> None:
    loaded(folder, party).verify_directly_issued_by(loaded(folder, "ca"))


def test_the_folder_is_closed_to_others(folder: Path) -> None:
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
