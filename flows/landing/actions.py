"""What administrators decided about addresses: one JSON line an action, written by `bouncehouse suppression`."""

from flows.landing.source import NOT_AN_OBJECT, Context, Source, json_object, shown, time_reason
from flows.sql import one_of, text

REQUIRED = ("action_id", "action", "at", "by", "reason")
OF_ADDRESSES = ("address", "list", "listed_at", "origin")
OF_RECOVERIES = ("from", "until", "margin_hours", "recipient_domain", "provider", "pattern", "bounce_reason")
FIELDS = (*REQUIRED, *OF_ADDRESSES, *OF_RECOVERIES)
"""`list` says which list: that of the administrator (`suppression`, also where it is absent) or the users' own
(`global`). `listed_at` and `origin` come with an import. The last seven say which bounces a recovery disregards."""

ACTIONS = ("add", "remove", "import", "recover")
LISTS = ("suppression", "global")


def judge(context: Context) -> str:
    """An action that nobody answers for, or whose criteria cannot be read, is none: what it would do is not guessed."""
    spread = ", ".join(f'record."{name}" as "{name}"' for name in FIELDS if name != "reason")

    def missing(names: tuple[str, ...], condition: str = "true") -> str:
        return "\n                ".join(
            f"when {condition} and nullif(record.\"{name}\", '') is null then 'no {name}'" for name in names
        )

    def is_no_time(name: str) -> str:
        value = f'record."{name}"'
        return f"""when {value} is not null and try_cast({value} as timestamptz) is null
                    then '{name} is no time: ''' || {shown(value)} || ''''"""

    return f"""
    parsed as (
        select record_number, record_part, line, flaw, raw, {json_object(context, "line", FIELDS)} as record
        from lines
    ),
    timed as (
        select *, try_cast(record."at" as timestamptz) as happened_at
        from parsed
    ),
    judged as (
        select
            record_number, record_part, line, raw, {spread},
            record."reason" as reason,
            case
                when flaw is not null then flaw
                when record is null then {text(NOT_AN_OBJECT)}
                {missing(REQUIRED)}
                when record."action" not in {one_of(ACTIONS)}
                    then 'unknown action ''' || {shown('record."action"')} || ''''
                when record."list" not in {one_of(LISTS)}
                    then 'unknown list ''' || {shown('record."list"')} || ''''
                {missing(("address",), "record.action <> 'recover'")}
                {missing(("from", "until"), "record.action = 'recover'")}
                {is_no_time("from")}
                {is_no_time("until")}
                when record."margin_hours" is not null and try_cast(record."margin_hours" as double) is null
                    then 'margin_hours is no number: ''' || {shown('record."margin_hours"')} || ''''
                when record."pattern" is not null and try(regexp_matches('', record."pattern")) is null
                    then 'pattern is no regular expression: ''' || {shown('record."pattern"')} || ''''
                when happened_at is null then 'at is no time: ''' || {shown('record."at"')} || ''''
                {time_reason("happened_at", context)}
            end as reject_reason,
        from timed
    )"""


SOURCE = Source(name="actions", form="json", fields=FIELDS, judge=judge)
