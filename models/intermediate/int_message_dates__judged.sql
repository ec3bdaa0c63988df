-- Days on which the messages of the groups that are judged anew began.

{{ config(materialized='view') }}

{{ first_dates(ref('int_judged_days__touched')) }}
