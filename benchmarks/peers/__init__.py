"""The programs that users would name beside runq: how each is found, its version, its best settings, how it is run."""
