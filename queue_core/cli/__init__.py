"""The command line. `main` dispatches; what `runq add` and `runq hook` import is measured and kept lean."""
