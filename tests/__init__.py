"""What is believed of minibert, and why. The folders mirror the packages that they test.

Two stand for themselves: `parity/` compares with independent references, rung by rung, and
`house/` holds the rules of the repository. Begin with `parity/test_ladder.py`.
"""
