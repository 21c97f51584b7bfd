"""minibert/tokenizer/__init__.py"""
