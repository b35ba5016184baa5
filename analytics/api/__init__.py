"""The read API: numbers out as JSON, telemetry out in whole columns."""
