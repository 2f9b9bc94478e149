"""The official package's server, with errors of one line that name value and remedy; `tools` puts its tools on it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError, UnexpectedToolError
from pydantic import ValidationError

MAX_SHOWN_CHARS: Final = 64
"""How much of a wrong value an error shows."""
_KINDS: Final = {"string": "a text", "number": "a number", "integer": "a whole number"}
"""The types of arguments in words, by JSON Schema's names."""


class ToolServer(MCPServer[Any]):
    """Refuses what a tool does not have, be it the tool itself, an argument or a value."""

    async def call_tool(
        self, name: str, arguments: dict[str, Any], context: Context[Any, Any] | None = None
    ) -> Any:
        """Call a tool. Raises `ToolError` with one line, which the assistant reads."""
        schemas = {tool.name: tool.input_schema["properties"] for tool in await self.list_tools()}
        if name not in schemas:
            raise ToolError(f"there is no tool {_shown(name)}: call {' or '.join(schemas)}")
        if unknown := [argument for argument in arguments if argument not in schemas[name]]:
            takes = ", ".join(schemas[name]) or "no arguments"
            raise ToolError(f"there is no argument {_shown(unknown[0])}: {name} takes {takes}")
        try:
            return await super().call_tool(name, arguments, context)
        except UnexpectedToolError:
            raise
        except ToolError as error:
            cause = error.__cause__
            if isinstance(cause, ValidationError):
                mistakes = [
                    _mistake(str(about["loc"][0]), arguments, schemas[name]) for about in cause.errors()
                ]
                raise ToolError("; ".join(mistakes)) from cause
            raise ToolError(" ".join(str(cause or error).split())) from cause


def _mistake(argument: str, arguments: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    allowed = _allowed(schema[argument])
    if argument not in arguments:
        return f"{argument} is missing: give {allowed}"
    return f"{argument} {_shown(arguments[argument])} is not {allowed}"


def _allowed(schema: Mapping[str, Any]) -> str:
    """Return in words what a JSON Schema allows, as far as our tools' schemas go."""
    schema = next((kind for kind in schema.get("anyOf", ()) if kind["type"] != "null"), schema)
    if "enum" in schema:
        return f"one of {', '.join(schema['enum'])}"
    kind = _KINDS[schema["type"]]
    if "maxLength" in schema:
        return f"{kind} of {schema.get('minLength', 0)} to {schema['maxLength']} characters"
    return f"{kind} from {schema['minimum']:g} to {schema['maximum']}" if "maximum" in schema else kind


def _shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= MAX_SHOWN_CHARS else f"{text[:MAX_SHOWN_CHARS]}…"
