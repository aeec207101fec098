"""The page at /docs: all requests and fields of the service, as HTML without scripts and without foreign files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 56rem; padding: 0 1rem; color: #1c2330; }
code, th { font-size: 0.9em } table { border-collapse: collapse; width: 100%; margin: 0.5rem 0 1.5rem }
th, td { border-bottom: 1px solid #d5dae2; padding: 0.3rem 0.6rem; text-align: left; vertical-align: top }
h2 { margin-top: 2.5rem } h3 { margin-top: 1.5rem }
"""


def docs_page(schema: Mapping[str, Any]) -> str:
    """Render a description of an API.

    Parameters
    ----------
    schema : mapping
        OpenAPI 3.1 document.

    Returns
    -------
    str
        HTML; /docs.css is its only other file.
    """
    title = escape(str(schema["info"]["title"]))
    parts = [
        f"<h1>{title} {escape(str(schema['info']['version']))}</h1>",
        f"<p>{escape(str(schema['info'].get('description', '')))} The same as a file: ",
        '<a href="openapi.json">openapi.json</a>.</p>',
        "<h2>Requests</h2>",
        *(part for path, item in schema["paths"].items() for part in _operations(path, item)),
        "<h2>Fields</h2>",
        *(part for name, model in schema["components"]["schemas"].items() for part in _model(name, model)),
    ]
    head = f'<meta charset="utf-8"><title>{title}</title><link rel="stylesheet" href="docs.css">'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(parts)}</body></html>'


def _operations(path: str, item: Mapping[str, Any]) -> Iterator[str]:
    """The requests of one path."""
    for method, operation in item.items():
        yield f"<h3><code>{method.upper()} {escape(path)}</code></h3>"
        yield f"<p>{escape(operation.get('description', ''))}</p><table><tr><th>status</th><th>body</th></tr>"
        body = operation.get("requestBody")
        if body:
            yield f"<tr><td>request</td><td>{_content(body)}</td></tr>"
        for status, response in operation["responses"].items():
            yield f"<tr><td>{escape(str(status))}</td><td>{_content(response)}</td></tr>"
        yield "</table>"


def _content(part: Mapping[str, Any]) -> str:
    """The type of a body."""
    content = part.get("content", {})
    return ", ".join(_type(each.get("schema", {})) or escape(kind) for kind, each in content.items()) or "none"


def _model(name: str, model: Mapping[str, Any]) -> Iterator[str]:
    """The fields of one type."""
    yield f'<h3 id="{escape(name)}">{escape(name)}</h3><p>{escape(model.get("description", ""))}</p>'
    yield "<table><tr><th>field</th><th>type</th><th>meaning</th></tr>"
    required = model.get("required", [])
    for field, spec in model.get("properties", {}).items():
        need = "required. " if field in required else ""
        default = "" if spec.get("default") is None else f" Default: {escape(str(spec['default']))}."
        meaning = f"{need}{escape(spec.get('description', ''))}{default}"
        yield f"<tr><td><code>{escape(field)}</code></td><td>{_type(spec)}</td><td>{meaning}</td></tr>"
    yield "</table>"


def _type(spec: Mapping[str, Any]) -> str:
    """A type with its limits, as HTML."""
    if "$ref" in spec:
        name = escape(spec["$ref"].rsplit("/", 1)[-1])
        return f'<a href="#{name}">{name}</a>'
    if "anyOf" in spec or "oneOf" in spec:
        return " or ".join(_type(each) for each in spec.get("anyOf", spec.get("oneOf")))
    if isinstance(spec.get("additionalProperties"), Mapping):
        most = f" of at most {spec['maxProperties']:,}" if "maxProperties" in spec else ""
        return f"object{most}: name to {_type(spec['additionalProperties'])}"
    if "items" in spec:
        most = f" of at most {spec['maxItems']:,}" if "maxItems" in spec else ""
        return f"list{most}: {_type(spec['items'])}"
    if "enum" in spec or "const" in spec:
        return " or ".join(escape(str(each)) for each in spec.get("enum", [spec.get("const")]))
    limits = [f"{words} {spec[key]:g}" for key, words in (("minimum", "from"), ("maximum", "to")) if key in spec]
    kind = str(spec.get("format", spec.get("type", "")))
    return escape(" ".join([kind, *limits]))
