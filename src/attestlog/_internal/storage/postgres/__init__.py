"""Logs on PostgreSQL: many hosts append to one log, and it survives the loss of one."""
