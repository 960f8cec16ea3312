"""The definition of the process as data: `model` (records), `load` (TOML), `default.toml`, `plain` (words), `compare` (diff)."""
