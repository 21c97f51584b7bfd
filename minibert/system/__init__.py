"""minibert/system/__init__.py"""
