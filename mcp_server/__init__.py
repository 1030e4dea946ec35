"""The agents' face: a thin MCP server. No SQL, no state logic, no command is run here.

`stdio` serves one client, `session` holds the queue that it works on, `tools`, `resources` and `prompts`
are what it sees, `feed` tells it of changes, `schemas` keeps all of that small.
"""
