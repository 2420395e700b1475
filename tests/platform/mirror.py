"""Where Terraform finds its provider on this machine without asking a registry."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

# Where Terraform itself looks when nothing is configured (its documentation, "Implied local mirror directories").
IMPLIED = ("terraform.d/plugins", ".terraform.d/plugins", ".local/share/terraform/plugins")
SHARED = (Path("/usr/local/share/terraform/plugins"), Path("/usr/share/terraform/plugins"))
# Folders whose direct children may be a mirror: where administrators put what no package brings.
KEPT = (Path("/opt"), Path("/usr/local/lib"), Path("/srv"))
# A mirror is HOST/NAMESPACE/TYPE/VERSION/PLATFORM/PROGRAM when unpacked, HOST/NAMESPACE/TYPE/ARCHIVE when packed.
UNPACKED, PACKED = "*/hashicorp/aws/*/*/terraform-provider-aws*", "*/hashicorp/aws/terraform-provider-aws*.zip"


def places() -> Iterator[Path]:
    """In the order in which they count; TERRAFORM_MIRROR is ours, TF_PLUGIN_CACHE_DIR is Terraform's."""
    yield from (Path(os.environ[name]) for name in ("TERRAFORM_MIRROR", "TF_PLUGIN_CACHE_DIR") if os.environ.get(name))
    yield from (Path.home() / folder for folder in IMPLIED)
    yield from SHARED
    yield from (Path(folder) for folder in os.get_exec_path())
    for folder in KEPT:
        yield from sorted(child for child in folder.glob("*") if child.is_dir())


def found() -> Path | None:
    """The root of the first mirror that holds the provider for AWS."""
    return next((place for place in places() if holds(place)), None)


def holds(place: Path) -> bool:
    try:
        return any(True for pattern in (UNPACKED, PACKED) for _ in place.glob(pattern))
    except OSError:
        return False


def configuration(root: Path | None) -> str:
    """A Terraform CLI configuration that takes providers from `root`; without one, from wherever Terraform would."""
    if root is None:
        return ""
    return f'provider_installation {{\n  filesystem_mirror {{\n    path = "{root}"\n  }}\n}}\n'
