"""An MCP server over standard input and output: tools with which an assistant speaks."""
