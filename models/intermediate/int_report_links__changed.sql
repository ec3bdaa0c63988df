-- Reports that came apart whose link the batch made, changed or undid: their messages are judged again, and their days counted.
-- depends_on: {{ ref('int_report_links__before') }}

with found as (
    select * from {{ ref('int_report_links__found') }}
),

{% if is_continued() or is_resumed() %}
known as (
    select * from {{ ref('int_report_links__before') }}
),

changed as (
    (
        select * from found
        except
        select * from known
    )
    union all
    (
        select * from known
        except
        select * from found
    )
)
{% else %}
changed as (
    select * from found
)
{% endif %}

select distinct
    event_id,
    report_date,
    report_message_group_id,
    message_group_id
from changed
