"""How a share is written, in every sentence and picture; view/page.js says the same in pages."""


def percent(share: float) -> str:
    """A share in per cent: three significant digits, but two decimals at most.

    What is not all or nothing is never rounded to it.

    >>> [percent(share) for share in (1, 0.99996, 0.4567, 0.0568, 0.00004, 0)]
    ['100 %', '> 99.9 %', '45.7 %', '5.68 %', '< 0.01 %', '0 %']
    """
    hundred = 100 * share
    if hundred in (0, 100):
        return f"{hundred:.0f} %"
    if 99.95 <= hundred < 100:
        return "> 99.9 %"
    if 0 < hundred < 0.01:
        return "< 0.01 %"
    return f"{hundred:.{1 if hundred >= 9.995 else 2}f} %"
