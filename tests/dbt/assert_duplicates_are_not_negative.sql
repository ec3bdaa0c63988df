-- Guards: landed = events + duplicates + ignored, by source. Fewer staged events than facts would mean invented ones.

select
    source_name,
    event_count,
    duplicate_count
from {{ ref('ops_sources') }}
where duplicate_count < 0
