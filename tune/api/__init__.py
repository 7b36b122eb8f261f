"""The search from Python: what `qlora_search` offers."""
