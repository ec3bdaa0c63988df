-- Every record of the batch from all sources, one row per recipient; `event_type` is null where the record is of a
-- kind that is no delivery event.

{{ config(materialized='view') }}

{%- for source_name in [
    'kumomta', 'powermta', 'postfix', 'exim', 'ses', 'sendgrid', 'mailgun', 'sparkpost', 'postmark', 'dsn', 'events',
] %}
select * from {{ ref('stg_' ~ source_name ~ '__events') }}
{% if not loop.last %}union all by name{% endif %}
{%- endfor %}
