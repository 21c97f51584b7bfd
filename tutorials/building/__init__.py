"""How a chapter becomes outputs, pictures, a notebook and a page. One idea per file:

`chapter` reads a chapter's form, `worker` runs its cells in a process of their own, `running`
starts the workers, `writing` puts what they gave back into the Markdown, `rules` and `compare`
judge, `notebook`, `web_site` and `source` write the other forms.
"""
