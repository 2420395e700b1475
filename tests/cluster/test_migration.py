"""Expand, then contract: a release serves on the schema of the one before it, and the one before on its schema."""

from __future__ import annotations

import pytest
from tests.cluster.database import PostgreSQL
from tests.cluster.kube import Namespace, ready
from tests.cluster.release import QUICK, Release, name_of
from tests.cluster.siege import Siege, direct, siege
from tests.integration.waiting import until

pytestmark = pytest.mark.timeout(600)

UNMIGRATED = {"migration": {"enabled": False}}
# A single pod at a time is enough for what is to be seen here.
ALONE = {"replicaCount": 1, "podDisruptionBudget": {"enabled": False}}


class Steps:
    """What is done to a release, under load."""

    def __init__(self, release: Release, under: Siege) -> None:
        self.release = release
        self._under = under

    def migrated(self, image: str) -> None:
        """Roll out with the migration Job."""
        self._under.happen(f"{image} migrates", lambda: self.release.upgrade(image))

    def unmigrated(self, image: str) -> None:
        """Roll out on the schema as it is; every pod gets ready."""
        self._under.happen(f"{image} serves", lambda: self.release.upgrade(image, **UNMIGRATED))

    def held_back(self, image: str) -> None:
        """Begin a rollout whose new pod can not serve on the schema as it is, and let it try for a while."""
        self._under.happen(f"{image} waits", lambda: self._held_back(image))

    def _held_back(self, image: str) -> None:
        old = {name_of(pod) for pod in self.release.pods()}
        self.release.begin(image, **UNMIGRATED)
        until(lambda: "schema_behind" in self.release.log(), 60, "the new pod says what it waits for")
        pods = {name_of(pod): ready(pod) for pod in self.release.pods()}
        assert {name for name, is_ready in pods.items() if is_ready} == old

    def schema(self) -> tuple[bool, bool]:
        """Whether column `note` and table `notes` are there."""
        column = "SELECT count(*) FROM information_schema.columns WHERE table_name = 'events' AND column_name = 'note'"
        table = "SELECT count(*) FROM information_schema.tables WHERE table_name = 'notes'"
        note, notes = (self.release.database.query(sql).strip() == "1" for sql in (column, table))
        return note, notes


def test_each_release_serves_on_the_schema_before_its_own_and_after_it(
    space: Namespace, postgresql: PostgreSQL, image: str, second_image: str, third_image: str
) -> None:
    release = Release(space, postgresql.database(space.name), QUICK, ALONE)
    release.install(image)
    with siege(release, image, {"service": direct(release, "--rate=30", "--connections=10")}) as under:
        steps = Steps(release, under)
        steps.unmigrated(second_image)
        assert steps.schema() == (False, False), "the new image serves on the old schema"
        steps.migrated(second_image)
        assert steps.schema() == (True, False)
        steps.unmigrated(image)
        assert steps.schema() == (True, False), "the old image serves on the expanded schema"
        steps.held_back(third_image)
        steps.migrated(third_image)
        assert steps.schema() == (False, True), "and so did the pods of the old image on the contracted one"
        steps.unmigrated(second_image)
        assert steps.schema() == (False, True), "a rollback needs no migration"
    assert under.aftermath.failures == {}, under.aftermath.details()
    assert {(*books.lost, *books.doubled) for books in under.aftermath.books.values()} == {()}
