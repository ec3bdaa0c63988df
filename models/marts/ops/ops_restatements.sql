-- What was published before and has changed is in no log: each publication writes it down (flows/restatements.py), and adds
-- its own rows to this mart when it copies it.

select
    event_date,
    source_name,
    campaign_id,
    figure,
    old_value,
    new_value,
    restated_at,
    build_id,
    previous_build_id,
    previously_published_at
from {{ source('landing', 'restatements') }}
