"""What builds and runs the things Sluice is tested against: Kubernetes from source, images, pinned programs."""
