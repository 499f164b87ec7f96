"""Preheats: jobs from their request to their end, kept over restarts."""
