"""The templates of a project, compiled before dbt runs: it would compile the same texts in each run anew."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from dbt.contracts.graph.manifest import Manifest
from dbt.contracts.graph.nodes import GenericTestNode, ModelNode, SingularTestNode
from dbt_common.clients.jinja import MacroFuzzEnvironment, get_environment, template_cache


def keep_compiled() -> None:
    """Have a text of templates compiled once in this process and its forks; dbt sees to that for macros only."""
    compile_text = MacroFuzzEnvironment.compile
    kept: dict[tuple[type, str], Any] = {}

    def compile_or_find(self: MacroFuzzEnvironment, source: str) -> Any:
        kind = type(self), source
        if kind not in kept:
            kept[kind] = compile_text(self, source)
        return kept[kind]

    setattr(MacroFuzzEnvironment, "compile", compile_or_find)  # noqa: B010 - mypy refuses the plain assignment


def compile_templates(manifest: Manifest) -> Iterator[None]:
    """Compile the texts of nodes, and the macros that they come to call, one with each step."""
    called = [name for name, macro in manifest.macros.items() if macro.name.startswith("materialization_")]
    for node in manifest.nodes.values():
        called += node.depends_on.macros
        if isinstance(node, ModelNode | GenericTestNode | SingularTestNode):
            with suppress(Exception):
                get_environment(node).compile(node.raw_code)
            yield
        if isinstance(node, GenericTestNode):
            # what a test is given: each word by itself, though it be no template
            for text in _find_texts(node.test_metadata.kwargs):
                with suppress(Exception):
                    get_environment(node, native=True).compile(text)
                yield
    found: set[str] = set()
    while called:
        name = called.pop()
        if name in found or name not in manifest.macros:
            continue
        found.add(name)
        called += manifest.macros[name].depends_on.macros
        with suppress(Exception):
            template_cache.get_node_template(manifest.macros[name])
        yield


def _find_texts(value: Any) -> Iterator[str]:
    """All texts in what was read of YAML."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _find_texts(each)
