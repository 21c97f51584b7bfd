"""minibert/fast/__init__.py"""
