"""minibert/cli/__init__.py"""
