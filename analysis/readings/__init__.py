"""Figures in words: two sentences on what each of the report's shows, made from what it draws."""
