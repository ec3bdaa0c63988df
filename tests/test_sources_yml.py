"""`sources.yml`: what it may hold, and that whatever else it holds is named."""

from pathlib import Path

import pytest

from flows import landing
from flows.problems import ActionableError
from flows.settings import Settings
from flows.sources import read_sources


def write(home: Path, text: str) -> Settings:
    (home / "sources.yml").write_text(text)
    return Settings(home=home)


def test_without_the_file_nothing_is_set(tmp_path: Path) -> None:
    assert read_sources(Settings(home=tmp_path)).variables == {"sources": {}, "verp_patterns": []}


def test_what_is_set_reaches_the_models(tmp_path: Path) -> None:
    settings = write(
        tmp_path,
        "postfix: {sending_ips: {mta1: '192.0.2.1'}, time_zone: Europe/Berlin}\n"
        "kumomta: {campaign: [meta.name, headers.X-Campaign]}\n"
        "verp: ['^b-(?P<message_id>[0-9a-f]+)@']\n",
    )
    assert read_sources(settings).variables == {
        "sources": {
            "kumomta": {"campaign": ["meta.name", "headers.X-Campaign"]},
            "postfix": {"sending_ips": {"mta1": "192.0.2.1"}, "time_zone": "Europe/Berlin"},
        },
        "verp_patterns": ["^b-([0-9a-f]+)@"],
    }


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("postfx: {}", "unknown key postfx"),
        ("postfix: {zone: UTC}", "unknown key postfix.zone"),
        ("ses: {time_zone: UTC}", "unknown key ses.time_zone"),
        ("postfix: {time_zone: Mars/Olympus}", "Mars/Olympus"),
        ("postfix: {sending_ips: {mta1: 192.0.2.300}}", "postfix.sending_ips.mta1"),
        ('kumomta: {campaign: ["x\' or 1=1"]}', "kumomta.campaign.0"),
        ("kumomta: {campaign: meta.x}", "kumomta.campaign"),
        ("verp: ['(']", "verp.0"),
        ("verp: ['^no-group@']", "verp.0"),
        ("[1, 2", "cannot be read"),
        ("just text", "sources.yml"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, named: str) -> None:
    settings = write(tmp_path, text)
    with pytest.raises(ActionableError) as problem:
        read_sources(settings)
    assert named in problem.value.cause
    assert "sources.yml" in problem.value.cause
    with pytest.raises(ActionableError):  # and nothing is read before it is put right
        landing.find_arrivals(settings)


def test_further_folders_are_read(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere" / "deep"
    elsewhere.mkdir(parents=True)
    (elsewhere / "a.jsonl").write_text("{}\n")
    settings = write(tmp_path, f"events: {{folders: [{tmp_path / 'elsewhere'}, missing]}}\n")
    arrivals = landing.find_arrivals(settings)
    assert [arrival.source_file for arrival in arrivals.files] == [f"{tmp_path / 'elsewhere'}/deep/a.jsonl"]
    assert [(each.source_file, each.message) for each in arrivals.unreadable] == [
        (str(tmp_path / "missing"), "no such folder; sources.yml names it for events")
    ]
