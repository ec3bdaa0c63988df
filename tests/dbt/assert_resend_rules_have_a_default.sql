-- Guards: a message of any source and campaign finds a resend rule; without one it would vanish from fct_messages.

select count(*) as default_count
from {{ ref('resend_rules') }}
where source_name = '*' and campaign_id = '*'
having count(*) <> 1
