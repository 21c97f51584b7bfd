"""minibert/weights/__init__.py"""
