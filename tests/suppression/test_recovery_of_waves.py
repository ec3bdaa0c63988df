"""`suppression recover`: the bad day of a provider is taken back, and shown before it is."""

import json
from datetime import datetime, timedelta

import pytest

from flows.problems import WrongUsageError
from flows.suppression.questions import Filters, list_suppressed
from flows.suppression.recovery import Recovery, apply, preview
from tests.suppression.published_lists import Fact, decided

BEGIN, END = datetime(2020, 12, 14, 21), datetime(2020, 12, 15, 3)
GOOGLE = {"mx_host": "gmail-smtp-in.l.google.com.", "reply": "550-5.1.1 The email account does not exist"}

# On the evening of the 14th Google says of good addresses that they do not exist.
FACTS = [
    Fact("good@gmail.com", BEGIN + timedelta(hours=1), **GOOGLE),
    Fact("late@gmail.com", END + timedelta(hours=40), event_type="out_of_band_bounce", **GOOGLE),
    Fact("later@gmail.com", END + timedelta(hours=90), event_type="out_of_band_bounce", **GOOGLE),
    Fact("workspace@brand.example", BEGIN + timedelta(hours=2), **GOOGLE),
    Fact("gone@gmail.com", BEGIN + timedelta(hours=2), **GOOGLE),
    Fact("gone@gmail.com", BEGIN + timedelta(days=20), **GOOGLE),  # really gone
    Fact("asked@gmail.com", BEGIN + timedelta(hours=2), **GOOGLE),
    decided("asked@gmail.com", BEGIN + timedelta(hours=3)),
    Fact("back@gmail.com", BEGIN + timedelta(hours=2), **GOOGLE),
    decided("back@gmail.com", BEGIN + timedelta(days=1), is_removal=True),
    Fact("other@mail.example", BEGIN + timedelta(hours=1), reply="550 mailbox disabled", reason="mailbox_inactive"),
    Fact("edge@gmail.com", END, **GOOGLE),
]


def listed(here):
    return list_suppressed(here, Filters())[0].column("address").to_pylist()


def test_it_is_shown_what_leaves_and_what_stays_and_why(home):
    here = home(*FACTS)
    found = preview(here, Recovery(BEGIN, END, provider="google"))
    assert (found.bounces, found.leaving, found.already_off) == (6, 3, 1)
    assert found.staying == {"administrator": 1, "hard_bounce": 1}
    assert ("domain", "gmail.com", 2, 2) in found.groups
    assert ("provider", "google", 3, 3) in found.groups
    assert ("reply", GOOGLE["reply"], 3, 3) in found.groups
    assert {address for address, _, _ in found.samples} == {
        "good@gmail.com",
        "late@gmail.com",
        "workspace@brand.example",
    }
    assert len(listed(here)) == 8 and not here.actions.exists()


@pytest.mark.parametrize(
    ("criteria", "leaving"),
    [
        ({}, 4),
        ({"margin_hours": 0}, 3),
        ({"margin_hours": 100}, 5),
        ({"recipient_domain": "GMAIL.com"}, 2),
        ({"pattern": "ACCOUNT .* exist"}, 3),
        ({"pattern": "nothing says so"}, 0),
        ({"bounce_reason": "mailbox_inactive"}, 1),
        ({"provider": "microsoft"}, 0),
    ],
)
def test_criteria_narrow_it_and_what_is_applied_is_what_was_shown(home, criteria, leaving):
    here = home(*FACTS)
    before = listed(here)
    recovery = Recovery(BEGIN, END, **criteria)
    found = preview(here, recovery)
    assert found.leaving == leaving
    apply(here, recovery, by="eve", why="Google's outage")
    assert len(before) - len(listed(here)) == leaving
    again = preview(here, recovery)
    assert (again.leaving, again.bounces) == (0, found.bounces)


def test_the_action_says_what_was_meant(home):
    here = home(*FACTS)
    path = apply(here, Recovery(BEGIN, END, provider="google", pattern=r"does\s+not"), by="eve", why="outage")
    action = json.loads(path.read_text())
    assert len(action.pop("action_id")) == 32 and action.pop("at")
    assert action == {
        "action": "recover", "by": "eve", "reason": "outage", "from": "2020-12-14T21:00:00+00:00",
        "until": "2020-12-15T03:00:00+00:00", "margin_hours": 72, "provider": "google", "pattern": r"does\s+not",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("recovery", "says"),
    [
        (Recovery(END, BEGIN), "before it starts"),
        (Recovery(BEGIN, BEGIN), "before it starts"),
        (Recovery(BEGIN, END, pattern="(unclosed"), "no regular expression"),
        (Recovery(BEGIN, END, pattern="(?<=look)behind"), "no regular expression"),
        (Recovery(BEGIN, END, provider="gogle"), "google"),
        (Recovery(BEGIN, END, bounce_reason="unknown"), "user_unknown"),
        (Recovery(BEGIN, END, margin_hours=-1), "margin-hours"),
        (Recovery(BEGIN, END, margin_hours=float("nan")), "margin-hours"),
    ],
)
def test_what_cannot_be_meant_is_refused(home, recovery, says):
    with pytest.raises(WrongUsageError) as refused:
        preview(home(*FACTS), recovery)
    assert says in refused.value.cause + refused.value.remedy
