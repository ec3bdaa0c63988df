"""What administrators decided about suppressed addresses: one JSON line an action."""

from flows.landing.source import NOT_AN_OBJECT, Context, Source, json_object, shown, time_reason

FIELDS = ("action_id", "action", "at", "address", "by", "reason")


def judge(context: Context) -> str:
    """Every field is required: an action that nobody answers for is none."""
    spread = ", ".join(f'record."{name}" as "{name}"' for name in FIELDS if name != "reason")
    first_missing = "\n                ".join(
        f"when nullif(record.\"{name}\", '') is null then 'no {name}'" for name in FIELDS
    )
    return f"""
    parsed as (
        select record_number, record_part, line, flaw, raw, {json_object("line", FIELDS)} as record
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
                when record is null then '{NOT_AN_OBJECT}'
                {first_missing}
                when record."action" not in ('remove', 'add')
                    then 'unknown action ''' || {shown('record."action"')} || ''''
                when happened_at is null then 'at is no time: ''' || {shown('record."at"')} || ''''
                {time_reason("happened_at", context)}
            end as reject_reason,
        from timed
    )"""


SOURCE = Source(name="actions", form="json", fields=FIELDS, judge=judge)
