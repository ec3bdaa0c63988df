-- Every record of the batch from all sources, one row per recipient; `event_type` is null where the record is of a
-- kind that is no delivery event, or where no time could be read: landing refuses such, and what it let through in a
-- form that staging does not know is counted as ignored, under a name that says so, and stops no publication.

{{ config(materialized='view') }}

with staged as (
    {% for source_name in [
        'kumomta', 'powermta', 'postfix', 'exim', 'ses', 'sendgrid', 'mailgun', 'sparkpost', 'postmark', 'dsn', 'events',
    ] %}
    select * from {{ ref('stg_' ~ source_name ~ '__events') }}
    {% if not loop.last %}union all by name{% endif %}
    {%- endfor %}
)

select
    * exclude (event_type, native_event_type),
    case when event_at is not null then event_type end as event_type,
    case
        when event_type is not null and event_at is null
            then concat(native_event_type, ' (no time that can be read)')
        else native_event_type
    end as native_event_type
from staged
