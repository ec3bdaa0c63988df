-- Addresses of which something else bears on the lists than when the last build was finished, and since when that can matter:
-- nothing in the lists before `changed_from` is another than it was. All addresses, where the lists are not carried on from
-- that build.

-- depends_on: {{ ref('int_suppression_causes__found') }}

{%- set said = [
    'list_name', 'recipient_domain', 'occurred_at', 'cause', 'is_removal', 'acted_by', 'why', 'event_id', 'event_type', 'source_name',
    'campaign_id', 'provider', 'text_id', 'reason', 'rule_id', 'response_text', 'is_about_recipient',
] %}
{%- set ended = ['ends_at', 'end_action', 'ended_by', 'end_why', 'end_id'] %}
{%- set digested %}
        cause_id,
        address,
        occurred_at,
        ends_at,
        hash({{ said | join(', ') }}) as said,
        hash({{ ended | join(', ') }}) as ended
{%- endset %}

with found as (
    select {{ digested }}
    from {{ ref('int_suppression_causes__found') }}
),

{% if is_list_continued() %}
known as (
    select {{ digested }}
    from {{ this.incorporate(path={'identifier': 'int_suppression_causes__collected'}) }}
),

changed as (
    select
        coalesce(found.address, known.address) as address,
        case
            when found.said = known.said
                then least(
                    coalesce(found.ends_at, timestamp 'infinity'), coalesce(known.ends_at, timestamp 'infinity')
                )
            -- of the two that there are
            else least(found.occurred_at, known.occurred_at)
        end as changed_from
    from found
    full join known on found.cause_id = known.cause_id and found.address = known.address
    where found.said is distinct from known.said or found.ended is distinct from known.ended
)
{% else %}
changed as (
    select
        address,
        timestamp '-infinity' as changed_from
    from found
)
{% endif %}

select
    address,
    min(changed_from) as changed_from
from changed
group by address
