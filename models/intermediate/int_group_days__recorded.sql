-- On which days there are records of which groups, events or what is said once for a queue id. Whoever looks for those of some
-- groups in all of history looks for their days here, among few and narrow rows, and reads these days only
-- (macros/days_of_groups.sql). A day too many costs time; none may be missing, so copies that do not count have theirs, too, and
-- two groups may share a number.

{{ config(
    materialized='incremental',
    batch_key='file_digest',
    order_by='event_date',
) }}

with records as (
    select
        message_group_id,
        event_date,
        file_digest,
        landed_at
    from {{ ref('int_staged_events__collected') }}
    where event_type is not null and {{ in_batch() }}
    {%- for facts in ['int_postfix__queue_facts', 'int_exim__message_facts'] %}
    union all
    select
        message_group_id,
        fact_date as event_date,
        file_digest,
        landed_at
    from {{ ref(facts) }}
    where {{ in_batch() }}
    {%- endfor %}
)

select distinct
    {{ group_key('message_group_id') }} as group_key,
    event_date,
    file_digest,
    landed_at
from records
