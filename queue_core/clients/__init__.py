"""What `runq install` writes into the files of agents' clients, and how it takes it out again."""
