"""minibert/diagnosis/catalogue/__init__.py"""
