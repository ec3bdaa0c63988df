"""Files for people and BI tools, under `exports/` and wherever a command is told to write one.

`csv_file` and `workbook` write formats, `contents` makes what stands in a file, `files` puts a file in its place at
once, `declared` reads which exports there are, `exporting` writes them all, `manifest` and `dated` keep the books.
"""
