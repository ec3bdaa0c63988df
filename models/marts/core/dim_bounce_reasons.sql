select * from {{ ref('bounce_reasons') }}
