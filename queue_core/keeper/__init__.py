"""The keeper: the parent of commands, a lean process that outlives the worker that started it.

`boot.start` starts one, `protocol` says how to talk to it, `records` is what it leaves on disk,
`verdict` decides what became of a claim whose worker is dead. All of it is stdlib only, and the
process itself (`main`) imports neither `json` nor `re` nor `asyncio`: it stays near 10 MB.
"""
