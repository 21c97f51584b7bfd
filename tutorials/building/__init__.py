"""How a chapter becomes outputs, pictures, a notebook and a page. One idea per file:

`chapter` reads a chapter's form, `running` runs its cells in a Jupyter kernel, which `kernel`
sets up, `writing` puts what they gave back into the Markdown, `rules` and `compare` judge,
`notebook` writes the notebooks, `web_site` has Sphinx write the pages, `source` those of code.
"""
