"""`suppression import`: other systems' lists, in the forms in which they give them."""

import csv
import io
import json
from datetime import datetime

import pytest

from flows.problems import ActionableError, WrongUsageError
from flows.settings import Settings
from flows.suppression.imports import import_list
from flows.suppression.list_files import ReadOptions
from flows.suppression.questions import Filters, list_suppressed
from tests.suppression.published_lists import Fact, decided


def taken(here: Settings, content: str | bytes, *, name: str = "list.csv", **options):
    """The result, and what was written as (list, address, listed_at)."""
    path = here.root / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    result = import_list(here, path, by="eve", reason="moved from there", **options)
    lines = [] if result.path is None else [json.loads(line) for line in result.path.read_text().splitlines()]
    return result, [(line["list"], line["address"], (line["listed_at"] or "")[:19]) for line in lines]


FILES = {
    "sendgrid bounces": (
        "status,reason,email,created\n5.1.1,550 5.1.1 no such user,Ann@mail.example,1443651125\n",
        [("suppression", "ann@mail.example", "2015-09-30T22:12:05")],
    ),
    "sendgrid spam reports": (
        "ip,email,created\n192.0.2.1,ann@mail.example,1443651125\n",
        [("global", "ann@mail.example", "2015-09-30T22:12:05")],
    ),
    "sendgrid unsubscribes": ("email,created\nann@mail.example,1443651125\n", [("global", "ann@mail.example", "2015-09-30T22:12:05")]),
    "sendgrid invalid addresses": (
        '[{"created": 1443651125, "email": "ann@mail.example", "reason": "Mail domain mentioned in email address is unknown"}]',
        [("suppression", "ann@mail.example", "2015-09-30T22:12:05")],
    ),
    "mailgun bounces": (
        "address,code,error,created_at\nann@mail.example,550,No such mailbox,\"Fri, 21 Oct 2011 11:02:55 GMT\"\n",
        [("suppression", "ann@mail.example", "2011-10-21T11:02:55")],
    ),
    "mailgun unsubscribes": (
        '{"items": [{"address": "ann@mail.example", "tags": ["*"], "created_at": "Fri, 21 Oct 2011 11:02:55 UTC"}],'
        ' "paging": {"next": "https://x.example"}}',
        [("global", "ann@mail.example", "2011-10-21T11:02:55")],
    ),
    "mailgun complaints": (
        "address,created_at\nann@mail.example,2020-02-03T04:05:06Z\n",
        [("global", "ann@mail.example", "2020-02-03T04:05:06")],
    ),
    "ses": (
        '{"SuppressedDestinationSummaries": [\n'
        ' {"EmailAddress": "ann@mail.example", "Reason": "BOUNCE", "LastUpdateTime": "2020-04-10T23:03:05+02:00"},\n'
        ' {"EmailAddress": "wes@wish.example", "Reason": "COMPLAINT", "LastUpdateTime": 1586552585.077}]}',
        [("suppression", "ann@mail.example", "2020-04-10T21:03:05"), ("global", "wes@wish.example", "2020-04-10T21:03:05")],
    ),
    "ses job": (
        "ann@mail.example,BOUNCE\nwes@wish.example,COMPLAINT\n",
        [("suppression", "ann@mail.example", ""), ("global", "wes@wish.example", "")],
    ),
    "sparkpost": (
        '{"results": [{"recipient": "ann@mail.example", "type": "transactional", "source": "Bounce Rule",'
        ' "created": "2021-01-01T12:00:00+00:00", "description": "550: 5.1.1 complained"},'
        ' {"recipient": "ann@mail.example", "type": "non_transactional", "source": "Bounce Rule",'
        ' "created": "2021-01-02T12:00:00+00:00"},'
        ' {"recipient": "wes@wish.example", "type": "non_transactional", "source": "List Unsubscribe",'
        ' "created": "2021-01-03T12:00:00+00:00"}]}',
        [("suppression", "ann@mail.example", "2021-01-01T12:00:00"), ("global", "wes@wish.example", "2021-01-03T12:00:00")],
    ),
    "postmark": (
        '{"Suppressions": [{"EmailAddress": "ann@mail.example", "SuppressionReason": "HardBounce", "Origin": "Recipient",'
        ' "CreatedAt": "2019-12-17T08:58:33-05:00"},'
        ' {"EmailAddress": "wes@wish.example", "SuppressionReason": "ManualSuppression", "Origin": "Recipient",'
        ' "CreatedAt": "2019-12-17T08:58:33-05:00"},'
        ' {"EmailAddress": "bob@mail.example", "SuppressionReason": "ManualSuppression", "Origin": "Customer",'
        ' "CreatedAt": "2019-12-17T08:58:33-05:00"},'
        ' {"EmailAddress": "cyd@mail.example", "SuppressionReason": "SpamComplaint", "Origin": "Recipient",'
        ' "CreatedAt": "2019-12-17T08:58:33-05:00"}]}',
        [("suppression", "ann@mail.example", "2019-12-17T13:58:33"), ("global", "wes@wish.example", "2019-12-17T13:58:33"),
         ("suppression", "bob@mail.example", "2019-12-17T13:58:33"), ("global", "cyd@mail.example", "2019-12-17T13:58:33")],
    ),
    "mandrill": (
        "email,reason,detail,created_at,expires_at,last_event_at,subaccount\n"
        'ann@mail.example,hard-bounce,"smtp;550 5.1.1, no",2016-01-14 19:08:17.51258,2099-01-01 00:00:00,2016-01-14 19:08:17,\n'
        "wes@wish.example,unsub,,2016-01-14 19:08:17,,2016-01-14 19:08:17,\n"
        "old@mail.example,soft-bounce,,2015-11-03 10:22:19,2015-11-04 10:22:19,2015-11-03 10:22:19,\n",
        [("suppression", "ann@mail.example", "2016-01-14T19:08:17"), ("global", "wes@wish.example", "2016-01-14T19:08:17")],
    ),
    "postal": (
        "id,type,address,reason,timestamp,keep_until\n7,recipient,ann@mail.example,too many soft fails,1586552585.25,4102444800\n"
        "8,recipient,old@mail.example,too many soft fails,1586552585.25,1586552999\n",
        [("suppression", "ann@mail.example", "2020-04-10T21:03:05")],
    ),
    "list": ("Name;E-Mail\nAnn;ann@mail.example\n", [("suppression", "ann@mail.example", "")]),
    "list json": ('["ann@mail.example", "bob@mail.example"]', [("suppression", "ann@mail.example", ""), ("suppression", "bob@mail.example", "")]),
    "list lines": ('{"email": "ann@mail.example"}\n{"email": "bob@mail.example"}\n', [("suppression", "ann@mail.example", ""), ("suppression", "bob@mail.example", "")]),
}  # fmt: skip


@pytest.mark.parametrize("what", FILES)
def test_the_vendors_forms_are_recognised(home, what):
    content, expected = FILES[what]
    here = home(Fact("x@mail.example"))
    result, written = taken(here, content)
    assert result.origin == what.removesuffix(" job").removesuffix(" json").removesuffix(" lines")
    assert written == expected
    assert addresses(here) == sorted(
        [address for list_name, address, _ in expected if list_name == "suppression"] + ["x@mail.example"]
    )


def addresses(here: Settings, **filters) -> list[str]:
    return list_suppressed(here, Filters(**filters))[0].column("address").to_pylist()


def test_an_import_says_who_why_and_whence(home):
    here = home(Fact("x@mail.example"))
    result, _ = taken(here, "email,created\nann@mail.example,1443651125\n", list_name="suppression")
    (line,) = result.path.read_text().splitlines()
    action = json.loads(line)
    assert len(action.pop("action_id")) == 32
    assert datetime.fromisoformat(action.pop("at")).utcoffset().total_seconds() == 0
    assert action == {
        "action": "import", "by": "eve", "reason": "moved from there", "list": "suppression",
        "address": "ann@mail.example", "listed_at": "2015-09-30T22:12:05.000000+00:00",
        "origin": "sendgrid unsubscribes: list.csv",
    }  # fmt: skip
    assert result.path.stat().st_mode & 0o777 == 0o600
    assert result.path.name.startswith("import-")
    assert list(here.actions.iterdir()) == [result.path]


def test_counts_add_up_and_samples_show_what_is_wrong(home):
    here = home(
        Fact("bounced@mail.example"), decided("decided@mail.example", datetime(2026, 3, 9)),
        decided("gone@mail.example", datetime(2026, 3, 9)), decided("gone@mail.example", datetime(2026, 3, 10), is_removal=True),
    )  # fmt: skip
    content = (
        "email\nnew@mail.example\nNEW@mail.example\nbounced@mail.example\ndecided@mail.example\ngone@mail.example\n"
        f"nobody\na@b@c.example\n{'a' * 400}@mail.example\n"
    )
    dry, written = taken(here, content, dry_run=True)
    assert written == [] and not here.actions.exists()
    result, written = taken(here, content)
    assert (result.rows, result.repeated, result.invalid, result.expired) == (8, 1, 3, 0)
    assert (result.new, result.known) == ({"suppression": 3}, {"suppression": 1}) == (dry.new, dry.known)
    assert [problem for _, _, problem in result.samples] == ["no @", "more than one @", "longer than 254 characters"]
    assert [place for place, _, _ in result.samples] == [7, 8, 9]
    # what only a bounce holds is imported too, so that a recovery of the bounce cannot take it off
    assert [address for _, address, _ in written] == ["new@mail.example", "bounced@mail.example", "gone@mail.example"]
    again, written = taken(here, content)
    assert (again.path, written, again.known) == (None, [], {"suppression": 4})


def test_a_taken_in_import_is_told_by_its_first_line(home):
    from tests.suppression.published_lists import publish

    here = home(Fact("x@mail.example"))
    result, _ = taken(here, "email\nann@mail.example\nbob@mail.example\n")
    first, _ = (json.loads(line)["action_id"] for line in result.path.read_text().splitlines())
    publish(here.published_database, [Fact("x@mail.example")], [first])
    assert addresses(here) == ["x@mail.example"]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_encodings_are_found_out(home, encoding):
    content = 'reason,status,email,created\n"Zoë; not known",5.1.1,ann@mail.example,1443651125\n'.encode(encoding)
    result, written = taken(home(Fact("x@mail.example")), content)
    assert (result.origin, written[0][1]) == ("sendgrid bounces", "ann@mail.example")


def test_json_in_utf_16_is_read(home):
    result, _ = taken(
        home(Fact("x@mail.example")),
        json.dumps([{"email": "ann@mail.example", "created": 1443651125}]).encode("utf-16"),
    )
    assert result.new == {"global": 1}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("Kontakt;Ort\nann@mail.example;Berlin\n", "'Kontakt', 'Ort'"),
        ('[{"kontakt": "ann@mail.example"}]', "'kontakt'"),
        ('[{"email": "ann@mail.example"', "not JSON"),
        ("", "is empty"),
    ],
)
def test_what_cannot_be_read_is_named_and_nothing_is_written(home, content, says):
    here = home(Fact("x@mail.example"))
    with pytest.raises(ActionableError) as refused:
        taken(here, content)
    assert says in refused.value.cause + refused.value.remedy
    assert not here.actions.exists()


def test_a_wrong_vendor_is_asked_about(home):
    here = home(Fact("x@mail.example"))
    with pytest.raises(WrongUsageError, match="--column"):
        taken(here, "id,email\n1,ann@mail.example\n", vendor="postal")
    result, written = taken(
        here, "id,email\n1,ann@mail.example\n", vendor="postal", options=ReadOptions(column="email")
    )
    assert (result.origin, len(written)) == ("postal", 1)


def test_hostile_text_stays_text(home):
    rows = [["email", "created"], ["'||(select(1))||'@mail.example", "1443651125"], ["=cmd@mail.example", "'"]]
    target = io.StringIO()
    csv.writer(target).writerows(rows)
    here = home(Fact("x@mail.example"))
    result, written = taken(here, target.getvalue(), name="it's ' || x.csv")
    assert [address for _, address, _ in written] == ["'||(select(1))||'@mail.example", "=cmd@mail.example"]
    assert json.loads(result.path.read_text().splitlines()[0])["origin"].endswith(": it's ' || x.csv")
    assert result.path.parent == here.actions


def test_who_and_why_are_required(home):
    here = home(Fact("x@mail.example"))
    (here.root / "list.csv").write_text("email\nann@mail.example\n")
    for by, reason in ((" ", "x"), ("eve", ""), ("eve", "two\nlines")):
        with pytest.raises(WrongUsageError):
            import_list(here, here.root / "list.csv", by=by, reason=reason)


def test_where_nothing_can_be_written_nothing_is_said_to_be(home):
    here = home(Fact("x@mail.example"))
    here.actions.write_text("a file where the folder should be")
    with pytest.raises(ActionableError, match="cannot write"):
        taken(here, "email\nann@mail.example\n")
