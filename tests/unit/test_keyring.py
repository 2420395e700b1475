"""The keyring: who is let in, by which file, at what time; real files, the Kubernetes symlink swap, many threads."""

from __future__ import annotations

import gc
import os
import sys
import threading
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from sluice import errors, keyring, keys

NOW = datetime(2026, 3, 1, 12, 0, 0, 999_999, tzinfo=UTC)
DAY = timedelta(days=1)
WEB, OPS, CANARY = (keys.mint(name, seed.ljust) for name, seed in (("prod", b"w"), ("prod", b"o"), ("canary", b"c")))
Logs = list[Any]


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(autouse=True)
def logs() -> Iterator[Logs]:
    with capture_logs() as captured:
        yield captured


def entry(key: str = WEB, **changes: Any) -> keys.KeyEntry:
    base = keys.KeyEntry(digest=keys.digest(key), key_id="web", owner="shop", scopes=frozenset({"ingest"}))
    return msgspec.structs.replace(base, **changes)


def write(path: Path, data: bytes) -> Path:
    """A new file in the place of the old one, as an atomic write leaves it."""
    fresh = path.with_name("fresh")
    fresh.write_bytes(data)
    os.replace(fresh, path)
    return path


def ring_of(path: Path, *entries: keys.KeyEntry, plain: tuple[str, ...] = (), clock: Clock | None = None) -> keyring.Keyring:
    ring = keyring.Keyring(plain, write(path / "keyset.json", keys.publish(entries, NOW)), clock or Clock())
    assert ring.poll()
    return ring


def reason_of(ring: keyring.Keyring, key: str) -> str | None:
    with pytest.raises(errors.Unauthorized) as caught:
        ring.verify(key)
    return caught.value.reason


class Volume:
    """A Secret volume as the kubelet writes it: keyset.json -> ..data/keyset.json, ..data -> a folder a version."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.turn = folder, 0
        self.file = folder / "keyset.json"
        self.file.symlink_to("..data/keyset.json")

    def publish(self, *entries: keys.KeyEntry) -> None:
        self.turn += 1
        version = self.folder / f"..2026_{self.turn}"
        version.mkdir()
        (version / "keyset.json").write_bytes(keys.publish(entries, NOW))
        (self.folder / "..data_tmp").symlink_to(version.name)
        os.replace(self.folder / "..data_tmp", self.folder / "..data")


# Plain keys


@pytest.mark.parametrize("key", ["x", "a key with blanks", "p@ss:w0rd/=+", WEB, "SLK_almost", "k" * 512])
def test_a_plain_key_of_any_form_is_let_in_for_everything_and_for_ever(key: str, clock: Clock) -> None:
    ring = keyring.Keyring([key], None, clock)
    clock.now = datetime.max.replace(tzinfo=UTC)
    found = ring.verify(key)
    assert found.key_id == f"env-{keys.digest(key)[7:15]}"
    assert (found.version, found.owner, found.scopes) == (1, "environment", frozenset(keys.SCOPES))


def test_with_plain_keys_only_the_keyring_is_loaded_at_once(clock: Clock) -> None:
    ring = keyring.Keyring(["one", "two", "one"], None, clock)
    assert (ring.loaded, ring.entries, ring.revision, ring.loaded_at) == (True, 2, None, None)
    assert ring.poll() is False


def test_plain_keys_that_can_never_be_let_in_are_named_by_position_only() -> None:
    wrong = WEB[:-1] + ("a" if WEB[-1] != "a" else "b")
    problems = keyring.check_plain(["fine", wrong, WEB, "clé", "k" * 513])
    assert [problem.split()[2] for problem in problems] == ["2", "4", "5"]
    assert "checksum is wrong" in problems[0]
    assert not any(key in problem for key in (wrong, "clé", "kkk") for problem in problems)


@pytest.mark.parametrize("plain", [[f'"{WEB}"'], [f"'{WEB}", "plain'"], ['"']])
def test_plain_keys_in_the_quotes_of_an_env_file_stop_the_start(plain: list[str]) -> None:
    assert [problem.partition(";")[0] for problem in keyring.check_plain(plain)] == ["API_KEYS is in quotation marks"]


def test_a_plain_key_may_have_a_quotation_mark() -> None:
    assert keyring.check_plain(['plain"', "'other", "it's"]) == []


def test_the_file_wins_over_a_plain_key_that_is_the_same(tmp_path: Path) -> None:
    ring = ring_of(tmp_path, entry(WEB), entry(OPS, key_id="ops", state="revoked"), plain=(WEB, OPS, "other"))
    assert ring.verify(WEB).key_id == "web"
    assert reason_of(ring, OPS) == "revoked"
    assert (ring.entries, ring.verify("other").owner) == (3, "environment")


def test_a_key_that_is_called_as_a_plain_one_is_never_taken_for_it(tmp_path: Path) -> None:
    name = keyring.plain_entry(OPS).key_id
    ring = ring_of(tmp_path, entry(WEB, key_id=name), plain=(OPS,))
    assert [ring.current(ring.verify(key).digest).owner for key in (WEB, OPS)] == ["shop", "environment"]


def test_a_key_that_is_called_as_one_before_is_never_taken_for_it(tmp_path: Path) -> None:
    ring = ring_of(tmp_path, entry(WEB))
    before = ring.verify(WEB)
    write(tmp_path / "keyset.json", keys.publish([entry(OPS, scopes=frozenset({"admin"}))], NOW))
    assert ring.poll()
    with pytest.raises(errors.Unauthorized):
        ring.current(before.digest)


# Refusals


WRONG = (WEB[:-1], WEB + "x", WEB.swapcase().replace("SLK", "slk"))


@pytest.mark.parametrize("presented", [*WRONG, "slk_", "k" * 513, "a\nb", "a\x00b", "\x7f", "clé", "\ud800"])
def test_a_malformed_key_is_refused_without_a_look_up(presented: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ring = keyring.Keyring([WEB], None, Clock())
    monkeypatch.setattr(keys, "digest", lambda _: pytest.fail("looked up"))
    assert reason_of(ring, presented) == "malformed"


def test_a_key_that_nobody_knows_is_unknown(tmp_path: Path) -> None:
    ring = ring_of(tmp_path, entry())
    assert [reason_of(ring, key) for key in (OPS, "anything", "")] == ["unknown"] * 3


@pytest.mark.parametrize("state", ["revoked", "suspended"])
def test_a_key_that_is_not_active_is_refused_with_its_state(tmp_path: Path, state: str) -> None:
    assert reason_of(ring_of(tmp_path, entry(state=state)), WEB) == state


def test_not_before_and_not_after_are_enforced_by_the_clock_without_a_new_file(tmp_path: Path, clock: Clock) -> None:
    ring = ring_of(tmp_path, entry(not_before=NOW + DAY, not_after=NOW + 2 * DAY), clock=clock)
    assert reason_of(ring, WEB) == "not_yet_valid"
    clock.now = NOW + DAY
    assert ring.verify(WEB).key_id == "web"
    clock.now = NOW + 2 * DAY
    assert reason_of(ring, WEB) == "expired"


def test_every_reason_has_words_for_the_client(tmp_path: Path) -> None:
    assert set(keyring.DETAILS) == {"malformed", "unknown", "expired", "revoked", "suspended", "not_yet_valid"}
    with pytest.raises(errors.Unauthorized, match="was revoked; ask for a new one"):
        ring_of(tmp_path, entry(state="revoked")).verify(WEB)


# The file


def test_a_file_is_read_once_until_it_changes(tmp_path: Path, clock: Clock) -> None:
    ring = ring_of(tmp_path, entry(), clock=clock)
    first = ring.revision
    clock.now += DAY
    assert (ring.poll(), ring.loaded_at) == (False, NOW)
    write(tmp_path / "keyset.json", keys.publish([entry(), entry(OPS, key_id="ops")], NOW))
    assert (ring.poll(), ring.loaded_at, ring.entries) == (True, NOW + DAY, 2)
    assert ring.revision not in (None, first)


def test_a_swapped_kubernetes_volume_is_noticed(tmp_path: Path) -> None:
    volume = Volume(tmp_path)
    volume.publish(entry())
    ring = keyring.Keyring((), volume.file, Clock())
    assert [ring.poll(), ring.poll()] == [True, False]
    volume.publish(entry(OPS, key_id="ops"))
    assert [ring.poll(), ring.poll()] == [True, False]
    assert ring.verify(OPS).key_id == "ops"
    assert reason_of(ring, WEB) == "unknown"


@pytest.mark.parametrize(
    "bad", [b"", b"{}", b"half of it", keys.publish([entry()], NOW)[:-9], keys.publish([], NOW).ljust((2 << 20) + 1)]
)
def test_a_bad_file_keeps_the_last_good_set(tmp_path: Path, bad: bytes) -> None:
    ring = ring_of(tmp_path, entry())
    revision = ring.revision
    write(tmp_path / "keyset.json", bad)
    assert ring.poll() is False
    assert ring.verify(WEB).key_id == "web"
    assert (ring.loaded, ring.revision) == (True, revision)
    assert ring.last_error


def test_a_repaired_file_is_loaded_and_its_error_forgotten(tmp_path: Path) -> None:
    ring = ring_of(tmp_path, entry())
    write(tmp_path / "keyset.json", b"{}")
    ring.poll()
    write(tmp_path / "keyset.json", keys.publish([entry(OPS)], NOW))
    assert ring.poll()
    assert ring.last_error is None
    assert ring.verify(OPS).key_id == "web"


def test_a_file_that_goes_keeps_the_last_good_set_and_is_read_when_it_is_back(tmp_path: Path) -> None:
    ring = ring_of(tmp_path, entry())
    (tmp_path / "keyset.json").unlink()
    assert ring.poll() is False
    assert ring.verify(WEB).key_id == "web"
    assert "FileNotFoundError" in (ring.last_error or "")
    write(tmp_path / "keyset.json", keys.publish([entry(OPS)], NOW))
    assert (ring.poll(), ring.last_error) == (True, None)


def test_the_very_same_file_put_back_is_no_longer_an_error(tmp_path: Path) -> None:
    ring = ring_of(tmp_path, entry())
    (tmp_path / "keyset.json").rename(tmp_path / "away")
    ring.poll()
    (tmp_path / "away").rename(tmp_path / "keyset.json")
    assert (ring.poll(), ring.last_error) == (True, None)


def test_a_folder_in_the_place_of_the_file_is_an_error_in_words(tmp_path: Path) -> None:
    ring = keyring.Keyring((), tmp_path, Clock())
    assert ring.poll() is False
    assert "correct KEYSET_FILE" in (ring.last_error or "")


def test_a_file_of_exactly_two_mebibytes_is_taken(tmp_path: Path) -> None:
    file = write(tmp_path / "keyset.json", keys.publish([entry()], NOW).ljust(2 << 20))
    assert keyring.Keyring((), file, Clock()).poll()


def test_the_keyring_is_loaded_only_after_a_first_good_set(tmp_path: Path) -> None:
    ring = keyring.Keyring(["plain"], tmp_path / "keyset.json", Clock())
    loaded = [ring.loaded]
    for content in (b"bad", keys.publish([], NOW), b"bad"):
        write(tmp_path / "keyset.json", content)
        ring.poll()
        loaded.append(ring.loaded)
    assert loaded == [False, False, True, True]


def test_before_a_first_set_an_unknown_key_is_asked_to_wait_and_a_plain_one_is_let_in(tmp_path: Path) -> None:
    ring = keyring.Keyring(["plain"], tmp_path / "keyset.json", Clock())
    assert ring.verify("plain").owner == "environment"
    with pytest.raises(errors.ServiceUnavailable) as caught:
        ring.verify(WEB)
    assert (caught.value.error, caught.value.headers) == ("keyset_not_loaded", {"Retry-After": "2"})


def test_a_bad_content_is_logged_once_however_often_it_is_polled_until_another_comes(tmp_path: Path, logs: Logs) -> None:
    ring = ring_of(tmp_path, entry())
    for content in (b"bad", b"bad", b"worse", keys.publish([], NOW), b"worse"):
        write(tmp_path / "keyset.json", content)
        ring.poll()
        ring.poll()
    assert [log["log_level"] for log in logs] == ["info", "warning", "warning", "info", "warning"]


def test_a_missing_file_is_logged_once(tmp_path: Path, logs: Logs) -> None:
    ring = keyring.Keyring((), tmp_path / "keyset.json", Clock())
    assert [ring.poll(), ring.poll(), ring.poll()] == [False] * 3
    assert len(logs) == 1


# Last use


def test_the_last_use_of_each_version_is_known_to_the_second(tmp_path: Path, clock: Clock) -> None:
    ring = ring_of(tmp_path, entry(), entry(OPS, version=2), plain=("plain",), clock=clock)
    ring.verify(WEB)
    clock.now = NOW + DAY
    ring.verify("plain")
    plain = f"env-{keys.digest('plain')[7:15]}/1"
    assert ring.use().last_used == {"web/1": "2026-03-01T12:00:00Z", plain: "2026-03-02T12:00:00Z"}


def test_a_refused_key_was_not_used(tmp_path: Path) -> None:
    ring = ring_of(tmp_path, entry(state="suspended"))
    reason_of(ring, WEB)
    assert ring.use().last_used == {}


def test_a_new_set_remembers_the_uses_of_what_stays_and_forgets_the_rest(tmp_path: Path) -> None:
    ring = ring_of(tmp_path, entry(), entry(OPS, key_id="ops"))
    ring.verify(WEB)
    ring.verify(OPS)
    write(tmp_path / "keyset.json", keys.publish([entry(state="revoked")], NOW))
    ring.poll()
    assert ring.use().last_used == {"web/1": "2026-03-01T12:00:00Z"}


# Threads


@pytest.fixture
def eager_threads() -> Iterator[None]:
    """Threads take turns 50 times as often as usual: more races, and the poller is not kept waiting by sixteen others."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(usual / 50)
    yield
    sys.setswitchinterval(usual)


@pytest.mark.usefixtures("eager_threads")
def test_sixteen_threads_never_see_a_false_refusal_while_sets_are_swapped(tmp_path: Path) -> None:
    volume = Volume(tmp_path)
    volume.publish(entry())
    ring = keyring.Keyring((), volume.file, Clock())
    ring.poll()
    stop = threading.Event()
    with ThreadPoolExecutor(16) as pool:
        counts = [pool.submit(hammer, ring, stop) for _ in range(16)]
        try:
            assert all(swap(volume, ring, turn) for turn in range(50))
        finally:
            stop.set()
    assert all(count.result() > 0 for count in counts)
    assert ring.use().last_used["web/1"] == "2026-03-01T12:00:00Z"


def hammer(ring: keyring.Keyring, stop: threading.Event) -> int:
    """Verify and read the last uses until `stop`, at least once; a refusal fails the test by its exception."""
    count = 0
    while not count or not stop.is_set():
        assert ring.verify(WEB).key_id == "web"
        assert "web/1" in ring.use().last_used
        count += 1
    return count


def swap(volume: Volume, ring: keyring.Keyring, turn: int) -> bool:
    """A set with another revision, of another size, that still holds the key in use."""
    others = [entry(f"{turn}-{n}", key_id=f"other-{n}") for n in range(turn % 7)]
    volume.publish(entry(owner=f"shop {turn}"), *others)
    return ring.poll()


# Secrets


def test_no_key_is_left_in_errors_logs_or_the_keyring_itself(tmp_path: Path, logs: Logs) -> None:
    ring = keyring.Keyring([CANARY, CANARY[:-1]], tmp_path / "keyset.json", Clock())
    for content in (CANARY.encode(), keys.publish([entry()], NOW).replace(b"shop", CANARY.encode())):
        write(tmp_path / "keyset.json", content)
        ring.poll()
    told = [refused(ring, key) for key in (CANARY[:-1], CANARY[4:], CANARY + "\n")]
    shown = [repr(ring), repr(vars(ring)), repr(ring.verify(CANARY)), repr(ring.last_error), repr(logs), *told]
    assert logs
    assert not [text for text in shown if CANARY[4:-1] in text]
    assert not [text for text in strings_within(ring) if CANARY[4:-1] in text]


def refused(ring: keyring.Keyring, key: str) -> str:
    with pytest.raises(errors.ApiError) as caught:
        ring.verify(key)
    return "".join(traceback.format_exception(caught.value)) + repr(vars(caught.value))


def strings_within(ring: keyring.Keyring) -> list[str]:
    """Every text that the keyring's own objects refer to."""
    found: list[str] = []
    seen: set[int] = set()
    queue: list[Any] = [vars(ring)]
    while queue:
        item = queue.pop()
        if isinstance(item, str):
            found.append(item)
        elif isinstance(item, dict | list | tuple | keyring.KeySet | keyring.KeyState | keys.KeyEntry) and id(item) not in seen:
            seen.add(id(item))
            queue.extend(gc.get_referents(item))
    return found
