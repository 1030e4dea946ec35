"""The schema as versioned steps, a module each; `migrations` carries them out. A released step is never edited."""
