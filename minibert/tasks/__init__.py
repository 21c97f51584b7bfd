"""minibert/tasks/__init__.py"""
