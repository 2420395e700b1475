"""What should be done next: one pure function of what is there and the clock. It keeps no state, and reads none from a status.

A version of a key goes through these states. Each is read off the cluster (`versions`), so a crash between any two actions, a
lost reply or a second operator changes nothing: the same plan is made again.

| state | how it is told | what is done | when it is left |
|---|---|---|---|
| absent | a reason (`schedule.reason`) | PutSecret (VersionStaged) | its Secret is there |
| staged | it has a Secret and was not handed out | PublishKeySet, AnnotatePods, ProbeWhoami | every Pod accepts it (`schedule`) |
| active | the client Secret has it, or `activated-at` | PutSecret, once; then repairs | a successor is active |
| superseded | it is below the active one | its end is published and noted (`schedule`) | end and margin have passed |
| over | end and margin have passed | PublishKeySet without it, then DeleteSecret (VersionRetired) | its Secret is gone |
| stray | nobody can have been given it | the same | the same |
| revoked | `spec.revoked` | PublishKeySet with tombstones, then DeleteSecret | after 30 days |

Order of one plan: the key set (so revocation goes first), delivery, removals, repairs, drops, hand-over, new versions, status.
No action needs that an earlier one of the same plan has worked, and no two touch the same Secret.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import cast

from msgspec.structs import replace

from sluice import keys
from sluice.keys import KeyEntry
from sluice_operator import api_types, entries, schedule, status, steps, world
from sluice_operator.api_types import ApiKey, Clock, KeySet
from sluice_operator.entries import refusals
from sluice_operator.reasons import event, set_status, told
from sluice_operator.steps import Scene
from sluice_operator.versions import Ledger, ordered, read_all
from sluice_operator.world import Action, Plan, ProbeWhoami, SecretAction, World

# So long after an ApiKey its KeySet may come: both are applied together, or made by bootstrap, which makes it last.
TOGETHER = timedelta(seconds=10)


def plan(seen: World, clock: Clock) -> Plan:
    """The actions that lead from `seen` to what its KeySet and ApiKeys ask for; none when it is as it should be.

    Whatever one ApiKey contains: a key that cannot be planned is set aside, and the others are planned without it. With a KeySet
    that cannot be read all are.
    """
    if seen.keyset is None:
        return Plan(tuple(orphans(seen, clock)), next_orphan(seen, clock))
    keyset = seen.keyset
    if keyset.fault:
        aside = {key.name: world.set_aside(key, "InvalidKeySet") for key in seen.keys}
        seen = replace(seen, keys=(), aside={**seen.aside, **aside})
    try:
        return whole(seen, keyset, clock)
    except Exception as error:
        if fault(seen, (), clock) is not None:
            # The key set alone: what revokes goes out although the rest of the plan cannot be made.
            wanted = entries.wanted(seen, keyset.spec, read_all(seen), clock)
            return Plan(tuple(publishing(seen, keyset, wanted, clock)), None, faults={"": error})
        culprits = faulty(seen, ordered(seen.keys), clock)
        aside = {key.name: world.set_aside(key, "NotPlanned") for key in seen.keys if key.name in culprits}
        others = tuple(key for key in seen.keys if key.name not in culprits)
        found = plan(replace(seen, keys=others, aside={**seen.aside, **aside}), clock)
        return replace(found, faults={**culprits, **found.faults})


def whole(seen: World, keyset: KeySet, clock: Clock) -> Plan:
    ledgers = read_all(seen)
    wanted = entries.wanted(seen, keyset.spec, ledgers, clock)
    room = entries.room(wanted)
    scenes = scenes_of(seen, keyset, ledgers, clock, wanted)
    publish = tuple(publishing(seen, keyset, wanted, clock))
    news = (aside for aside in seen.aside.values() if aside.reason not in world.NO_NEWS)
    actions = [
        *publish,
        *(() if publish else delivery(seen)),
        *(action for scene in scenes for action in told(scene.ledger.key.name, changes(scene))),
        *staging(keyset, scenes, room),
        *(action for scene in scenes for action in set_status(api_types.API_KEY, scene.ledger.key, status.of_key(scene))),
        *(action for each in news for action in set_status(api_types.API_KEY, each, status.of_aside(each, clock))),
        *set_status(api_types.KEY_SET, keyset, status.of_keyset(keyset, seen, clock, not publish, room)),
    ]
    return Plan(tuple(actions), next_deadline(seen, scenes, clock), foreign(seen, ledgers))


def fault(seen: World, found: Sequence[ApiKey], clock: Clock) -> Exception | None:
    """Why there is no plan with these keys alone."""
    try:
        whole(replace(seen, keys=tuple(found)), cast(KeySet, seen.keyset), clock)
    except Exception as error:
        return error
    return None


def faulty(seen: World, found: Sequence[ApiKey], clock: Clock) -> dict[str, Exception]:
    """The keys that make a plan fail, found by halves. Where only two together do, the later one gives way."""
    error = fault(seen, found, clock)
    if error is None or not found:
        return {}
    if len(found) == 1:
        return {found[0].name: error}
    half = len(found) // 2
    culprits = faulty(seen, found[:half], clock) | faulty(seen, found[half:], clock)
    return culprits or {found[-1].name: error}


def orphans(seen: World, clock: Clock) -> Iterator[Action]:
    """Of keys whose KeySet does not exist nothing is touched; that is told when it does not come soon."""
    for key in seen.keys:
        if clock.earliest >= key.metadata.creation_timestamp + TOGETHER:
            yield from set_status(api_types.API_KEY, key, status.without_keyset(key, clock))


def next_orphan(seen: World, clock: Clock) -> datetime | None:
    """When the first of the keys that have no KeySet yet is told so."""
    dates = (key.metadata.creation_timestamp + TOGETHER for key in seen.keys)
    return min((date for date in dates if date > clock.earliest), default=None)


def scenes_of(seen: World, keyset: KeySet, ledgers: Sequence[Ledger], clock: Clock, wanted: Sequence[KeyEntry]) -> list[Scene]:
    refused, stale = refusals(seen, keyset.spec, ledgers, entries.room(wanted), clock), schedule.stale(seen)
    published: dict[str, dict[str, KeyEntry]] = defaultdict(dict)
    revoked: dict[str, set[str]] = defaultdict(set)
    due: dict[str, dict[str, KeyEntry]] = defaultdict(dict)
    for entry in wanted:
        due[entry.key_id][entry.digest] = entry
    for entry in world.published(seen):
        if entry.state != "revoked":
            published[entry.key_id][entry.digest] = entry
    for entry in world.entries(seen):
        if entry.state == "revoked":
            revoked[entry.key_id].add(entry.digest)
    return [
        Scene(
            world=seen,
            clock=clock,
            keyset=keyset,
            ledger=ledger,
            refusal=refused.get(ledger.key.name),
            entries=published[ledger.key.name],
            wanted=due[ledger.key.name],
            revoked=frozenset(revoked[ledger.key.name]),
            stale=stale,
        )
        for ledger in ledgers
    ]


def publishing(seen: World, keyset: KeySet, wanted: tuple[KeyEntry, ...], clock: Clock) -> Iterator[Action]:
    """The key set, when it, its labels or its owner are not what they should be."""
    old = seen.published
    if old is not None and not old.ours:
        return
    # What cannot be sealed is not written again and again.
    document = old.document if old is not None and (old.authentic or old.seal_taken) else None
    revision = keys.revision(wanted)
    marked = steps.published_marks(keyset)
    same = document is not None and document.revision == revision
    if same and old is not None and steps.has_marks(marked, old.metadata):
        return
    moment = document.generated_at if document is not None and same else clock.server
    yield world.PublishKeySet(
        secret=api_types.published_secret(keyset.name),
        document=keys.publish(wanted, moment),
        revision=revision,
        marks=marked,
        precondition=old.metadata.resource_version if old is not None else None,
        restores=old is not None and old.sealed is False,
    )
    if old is not None and old.sealed is False:
        yield event(api_types.KEY_SET, keyset.name, "KeySetRestored")
    yield event(api_types.KEY_SET, keyset.name, "KeySetPublished", revision[:8])


def delivery(seen: World) -> Iterator[Action]:
    """The way of the key set that is published now, and should be, to the Pods."""
    published = seen.published
    if published is None or published.document is None or published.edition is None:
        return
    document = published.document
    if pods := schedule.to_annotate(seen):
        yield world.AnnotatePods(pods, published.edition)
    if pods := schedule.unacknowledged(seen):
        yield world.AwaitConvergence(document.revision, pods, document.generated_at)


def changes(scene: Scene) -> Iterator[SecretAction | ProbeWhoami]:
    """What is done to the Secrets of one key. To each only the first thing: a second would be planned for what is there now."""
    touched: set[str] = set()
    parts = (steps.removals(scene), steps.repairs(scene), steps.drops(scene), steps.hand_out(scene))
    for action in itertools.chain(*parts):
        if isinstance(action, ProbeWhoami) or action.secret not in touched:
            yield action
        touched.add(action.secret)


def staging(keyset: KeySet, scenes: Sequence[Scene], room: int) -> Iterator[Action]:
    """New versions, the most urgent first, as many at once as the KeySet allows. A first version waits for nobody."""
    free = keyset.spec.max_concurrent_rotations - sum(map(rotates, scenes))
    for scene in sorted(scenes, key=urgency):
        first = scene.ledger.active is None
        for action in steps.stage(scene):
            if room < 1 or (free < 1 and not first):
                continue
            room, free = room - 1, free - (not first)
            yield from told(scene.ledger.key.name, [action])


def rotates(scene: Scene) -> bool:
    """Whether a key waits for the Pods with a new version.

    One that rests, that no Pod will ever get, or whose Secret the API server does not let us write may wait for ever.
    """
    staged, active = scene.ledger.staged, scene.ledger.active
    if staged is None or active is None or scene.resting or staged.digest not in scene.wanted:
        return False
    return steps.blocked(scene) is not None or bool(steps.unproved(scene, staged))


def urgency(scene: Scene) -> tuple[int, str]:
    """What goes first; among equals a fixed order that is nobody's merit."""
    reason = schedule.reason(scene.ledger, scene.clock)
    active = scene.ledger.active
    return schedule.URGENCY[reason] if reason else len(schedule.URGENCY), active.digest if active else ""


def next_deadline(seen: World, scenes: Iterable[Scene], clock: Clock) -> datetime | None:
    """The first moment at which the clock alone changes the plan."""
    dates = [date for scene in scenes for date in dates_of_key(scene)]
    dates += [entry.not_after + world.TOMBSTONE for entry in world.entries(seen) if entry.state == "revoked" and entry.not_after]
    dates += schedule.dates(seen)
    return min((date for date in dates if date > clock.earliest), default=None)


def foreign(seen: World, ledgers: Iterable[Ledger]) -> frozenset[str]:
    """The names of Secrets that somebody else has and that are needed."""
    return frozenset(name for ledger in ledgers for name in ledger.foreign) | set(world.taken(seen))


def dates_of_key(scene: Scene) -> Iterator[datetime]:
    key = scene.ledger.key
    yield from (date for date, _ in status.upcoming(scene))
    for version in scene.ledger.having("superseded"):
        if version.ends_at is not None:
            yield schedule.removal(key, version.ends_at)
            yield schedule.decision(key, version) or version.ends_at
    if key.spec.not_before is not None:
        yield key.spec.not_before
    if key.spec.expires_at is not None:
        yield from (key.spec.expires_at - before for before, _ in status.NOTICES)
    yield from (forgotten for _, forgotten in status.refusals(scene))
    if (late := status.late_since(scene)) is not None:
        yield late
