-- What people asked of a provider about all mail: none any more, or to be mailed again. Each request once.

{{ config(
    materialized='incremental',
    unique_key='opt_out_id',
) }}

with requests as (
    {% for source_name in ['ses', 'sendgrid', 'mailgun', 'sparkpost', 'postmark'] %}
    select * from {{ ref('stg_' ~ source_name ~ '__opt_outs') }}
    {% if not loop.last %}union all by name{% endif %}
    {%- endfor %}
    union all by name
    select * from {{ source('landing', 'retained_opt_outs') }}
)

select * from requests
where address is not null and event_at is not null
qualify row_number() over (partition by opt_out_id order by source_name, why) = 1
