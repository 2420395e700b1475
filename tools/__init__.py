"""What builds and runs the things Sluice is tested against: Kubernetes from source, images, pinned programs."""


class Missing(Exception):
    """Something that a clone does not bring is not here; the text says what, and how to get it. Tests skip with it."""


def not_installed(name: str) -> Missing:
    """`name` is one of the parts of tools/install.py."""
    return Missing(f"{name} is not installed; to get it: make tools TOOLS={name}")
