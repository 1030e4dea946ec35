"""The agents' face: a thin MCP server. No SQL, no state logic, no command is run here.

`stdio` serves one client, `http` many (`guard` stands before it, `bearer` keeps its token, `address` its port);
`session` holds the queue that they work on; `tools` (published by `catalogue`), `resources` and `prompts` are what
the client sees, `watching` tells it of changes. `schemas` keeps the tools small, `replies`, `text` and `wording` what
they say.
"""
