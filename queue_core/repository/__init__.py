"""What a repository's own configuration makes a version control program run: files that agents can write to.

`git status` in a repository whose configuration sets core.fsmonitor runs that program; a hook, a filter, an alias
do the same, and a pointer makes it read another repository. Asked for every decision on an agent's job, so it costs
a few reads and no process.

`inspection` is asked, and asks `git` or `hg`; `finding` tells which folder git takes for the repository, `place`
whether it lies where agents may work, `git_config` what its settings are; `files` reads, within bounds.
"""
