"""The operator's settings and command line."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from sluice.errors import SettingsError
from sluice_operator.__main__ import main
from sluice_operator.settings import Settings, known

NEEDED = {"WATCH_NAMESPACES": "sluice", "POD_NAMESPACE": "sluice", "POD_NAME": "sluice-operator-0"}


def test_the_least_that_is_needed_is_enough() -> None:
    settings = Settings.from_env(NEEDED)
    assert settings.watch_namespaces == ("sluice",)
    assert (settings.port, settings.enforce, settings.bootstrap_configmap) == (8082, False, None)


def test_every_mistake_is_reported_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_env(
            {"PORT": "x", "ENFORCE": "yes", "LOG_LEVEL": "loud", "WATCH_NAMESPACES": " , ", "POD_NAME": "Not_A_Name"}
        )
    assert [problem.split()[0] for problem in caught.value.problems] == [
        "WATCH_NAMESPACES",
        "POD_NAMESPACE",
        "POD_NAME",
        "ENFORCE",
        "LOG_LEVEL",
        "PORT",
    ]


def test_namespaces_are_a_list_and_each_counts_once() -> None:
    assert Settings.from_env({**NEEDED, "WATCH_NAMESPACES": "b, a,b"}).watch_namespaces == ("b", "a")


@pytest.mark.parametrize("text", ["A", "a_b", "-a", "a" * 64, "a/b", "*"])
def test_what_is_no_namespace_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="WATCH_NAMESPACES"):
        Settings.from_env({**NEEDED, "WATCH_NAMESPACES": text})


@pytest.mark.parametrize("text", ["65536", "-1", "1.5", "808080"])
def test_what_is_no_port_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="PORT"):
        Settings.from_env({**NEEDED, "PORT": text})


def test_help_names_every_variable_and_an_example() -> None:
    text = CliRunner().invoke(main, ["--help"]).output
    assert all(name in text for name in known())
    assert "python -m sluice_operator" in text


def test_wrong_settings_end_the_process_with_2(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in known():
        monkeypatch.delenv(name, raising=False)
    result = CliRunner().invoke(main, [])
    assert result.exit_code == 2
    assert "WATCH_NAMESPACES must be set" in result.output
