"""Writes out what a model cannot read: numbers, dates, money, units."""
