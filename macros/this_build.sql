{#-
    What is to be known of the build that runs, as flows/build.py tells it by dbt's metadata environment variables
    (`DBT_ENV_CUSTOM_ENV_…`). Not by other variables: dbt parses the whole project anew where one of those differs from the build
    before, which takes longer than a small day's models. While dbt parses, and in its unit tests, nothing holds; what a model refers
    to only where something does must stand in a `depends_on`.
-#}
{% macro this_build(what) -%}
    {{ return(execute and flags.WHICH == 'build' and dbt_metadata_envs[what | upper] == 'true') }}
{%- endmacro %}

{#- Whether everything is built from landing. -#}
{% macro is_rebuilt() -%}
    {{ return(this_build('is_rebuilt')) }}
{%- endmacro %}

{#- Whether every message is derived again, as after a change of rules. -#}
{% macro is_retouched() -%}
    {{ return(this_build('is_retouched')) }}
{%- endmacro %}

{#- Whether tables are as the last build finished them, so that changes can be told by comparing. -#}
{% macro is_continued() -%}
    {{ return(this_build('is_continued')) }}
{%- endmacro %}

{#-
    Whether this build, though it does not carry on from a finished one (the last one was killed, the rules are others, or retention dropped something), knows by which
    links of reports messages were judged: by the last finished one, and by each since.
-#}
{% macro is_resumed() -%}
    {{ return(this_build('is_resumed')) }}
{%- endmacro %}

{#- Whether the lists are so too, under the same policy: addresses whose causes are as they were keep their rows. -#}
{% macro is_list_continued() -%}
    {{ return(this_build('is_list_continued')) }}
{%- endmacro %}

{#- Whether a model with `anew_unless_continued` gives changes only (macros/materializations/incremental.sql), not all there is. -#}
{% macro is_carried_on() -%}
    {{ return(is_incremental() and is_list_continued()) }}
{%- endmacro %}

{#- Whether data tests look at all rows, not only at those that the build can have changed. -#}
{% macro is_tested_whole() -%}
    {{ return(this_build('is_tested_whole')) }}
{%- endmacro %}

{#-
    How a step of a model is read that is all events where everything is built from landing, and few otherwise: DuckDB writes down each
    step that is read more than once, which is right for few.
-#}
{% macro inlined_where_rebuilt() -%}
    {{ return('not materialized' if is_rebuilt() else '') }}
{%- endmacro %}
