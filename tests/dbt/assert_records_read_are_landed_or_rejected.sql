-- Guards: nothing is lost while landing. What the splitter counted in a file is what its writer wrote and rejected.

select
    source_name,
    source_file,
    records_read,
    records_landed,
    records_rejected
from {{ ref('ops_loads') }}
where records_read <> records_landed + records_rejected
