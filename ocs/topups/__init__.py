"""Recurring and automatic top-ups: orders that are due are collected from who pays, and credited."""
