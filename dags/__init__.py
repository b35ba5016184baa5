"""The roof: schedules, retries, mapping, triage notes. No logic."""
