"""What a chapter's kernel shows otherwise than Jupyter: a value as `repr`, a picture as its SVG.

An extension of IPython; `running` asks for it by name.
"""

from typing import Any


def load_ipython_extension(shell: Any) -> None:
    formatters = shell.display_formatter.formatters
    formatters["text/plain"].pprint = False
    formatters["image/svg+xml"].for_type(object, drawing)
    formatters["text/html"].for_type(object, page)


def drawing(value: Any) -> str | None:
    """The SVG of a picture of `minibert.view`; None for anything else."""
    svg = getattr(value, "svg", None)
    return svg if isinstance(svg, str) else None


def page(value: Any) -> str | None:
    """The page of a picture that one can click in; None for anything else."""
    return value.page() if drawing(value) and getattr(value, "interactive", "") else None
