"""Beam's runners: their options, what they print, how a job is handed to them and how its failure is told."""
