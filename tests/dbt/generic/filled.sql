{#- None of the columns holds a null. One query for all of a model: a test costs dbt more than it costs the engine. -#}
{% test filled(model, columns) %}

select {{ columns | join(', ') }}
from {{ model }}
where {{ columns | join(' is null or ') }} is null

{% endtest %}
