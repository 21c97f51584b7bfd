"""minibert/core/__init__.py"""
