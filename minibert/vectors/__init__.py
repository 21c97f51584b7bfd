"""minibert/vectors/__init__.py"""
