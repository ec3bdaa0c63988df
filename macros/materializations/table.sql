{#-
    Tables and views put in place by `create or replace`, which DuckDB does at once or not at all. dbt's own ways rename what
    is there, build beside it, rename again and drop: half of what a small model costs. Grants and indexes, which no model
    here has, are left out; a hook before runs in the transaction of its model.
-#}
{% materialization table, adapter='duckdb' %}
    {%- set target = this.incorporate(type='table') -%}
    {{ begin_model(target) }}
    {% call statement('main') -%}
        {{ replace_table_sql(target) }}
    {%- endcall %}
    {% do adapter.commit() %}
    {{ return({'relations': [target]}) }}
{% endmaterialization %}

{% materialization view, adapter='duckdb' %}
    {%- set target = this.incorporate(type='view') -%}
    {{ begin_model(target) }}
    {% call statement('main') -%}
        {{ assert_contract() }}
        create or replace view {{ target }} as (
            {{ sql }}
        )
    {%- endcall %}
    {% do adapter.commit() %}
    {{ return({'relations': [target]}) }}
{% endmaterialization %}

{#- A table cannot replace a view, nor a view a table: what an older version of the model left behind goes. -#}
{% macro begin_model(target) %}
    {% if post_hooks %}
        {% do exceptions.raise_compiler_error('a hook after a model is not run: see macros/materializations') %}
    {% endif %}
    {%- set existing = load_cached_relation(this) -%}
    {% if existing is not none and existing.type != target.type %}
        {% do adapter.drop_relation(existing) %}
    {% endif %}
    {{ run_hooks(pre_hooks) }}
{% endmacro %}

{#- `condition` says which rows of what the model gives, of a model with a contract; `order` in which order they lie. -#}
{% macro replace_table_sql(target, condition='true', order='') %}
    {{ assert_contract() }}
    create or replace table {{ target }} as (
        {{ in_order_of_contract() }}
        {%- if condition != 'true' %}
        where {{ condition }}
        {%- endif %}
        {{ order }}
    )
{% endmacro %}

{#-
    An error where a contract is declared and the model gives other columns or types. Where a model has changed everything is built anew,
    and all is tested: other builds are spared the two questions to the engine that this takes for each mart.
-#}
{% macro assert_contract() %}
    {% if config.get('contract').enforced and is_tested_whole() %}{{ get_assert_columns_equivalent(sql) }}{% endif %}
{% endmacro %}

{% macro in_order_of_contract() %}
    {% if config.get('contract').enforced %}
        select {{ model['columns'].values() | map(attribute='name') | join(', ') }} from ({{ sql }}) as model
    {% else %}
        {{ sql }}
    {% endif %}
{% endmacro %}
