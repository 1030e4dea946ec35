"""Real clients against the real server. What they are installed from is in `installed.py`."""
