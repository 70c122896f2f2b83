"""Document → one HTML file: pictures inside, no script, nothing fetched, light or dark as the reader's system is."""

from __future__ import annotations

import base64
from html import escape

from vire_edge.training.report.document import Block, Code, Document, Heading, Paragraph, Picture, Table

STYLE = """
:root{color-scheme:light dark;--paper:#fff;--ink:#24292f;--faint:#57606a;--line:#d0d7de;--shade:#f6f8fa}
@media (prefers-color-scheme:dark){:root{--paper:#14181d;--ink:#e6edf3;--faint:#9aa4af;--line:#353c45;--shade:#1c2229}}
body{margin:0 auto;padding:2rem 1.25rem 4rem;max-width:66rem;background:var(--paper);color:var(--ink);
font:1rem/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif}
h1{font-size:1.9rem;line-height:1.2;margin:0 0 .75rem}
h2{font-size:1.35rem;margin:2.75rem 0 .75rem;padding-top:.75rem;border-top:1px solid var(--line)}
h3{font-size:1.1rem;margin:2rem 0 .5rem}
p{max-width:46rem;margin:.5rem 0}
.scroll{overflow-x:auto;margin:1rem 0 1.5rem}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:.92rem}
caption{text-align:left;font-weight:600;padding-bottom:.4rem}
th,td{padding:.35rem 1.1rem .35rem 0;text-align:right;vertical-align:top;
border-bottom:1px solid var(--line);white-space:nowrap}
th{font-weight:500;color:var(--faint);vertical-align:bottom}
thead th{white-space:normal}
tbody th{color:var(--ink)}
th:first-child{text-align:left}
.words{text-align:left}
figure{margin:1rem 0 1.75rem}
img{display:block;max-width:100%;height:auto}
figcaption{color:var(--faint);font-size:.92rem;max-width:46rem;margin-top:.35rem}
pre{white-space:pre-wrap;overflow-wrap:anywhere;margin:.5rem 0 1rem;padding:.75rem 1rem;background:var(--shade);
border:1px solid var(--line);border-radius:6px;font-size:.88rem;line-height:1.5}
@media print{.scroll{overflow:visible}figure,table{break-inside:avoid}}
""".strip()


def as_html(document: Document) -> str:
    """Write a page.

    Args:
        document: its first block is the title.
    """
    title = next(block.text for block in document if isinstance(block, Heading))
    body = "\n".join(_block(block) for block in document)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{STYLE}\n</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n"
        "</body>\n</html>\n"
    )


def _block(block: Block) -> str:
    match block:
        case Heading(text, level):
            return f"<h{level}>{escape(text)}</h{level}>"
        case Paragraph(text):
            return f"<p>{escape(text)}</p>"
        case Code(text):
            return f"<pre><code>{escape(text)}</code></pre>"
        case Table():
            return _table(block)
        case Picture(_, svg, alt, caption):
            source = base64.b64encode(svg.encode()).decode()
            image = f'<img src="data:image/svg+xml;base64,{source}" alt="{escape(alt)}">'
            return f"<figure>\n{image}\n<figcaption>{escape(caption)}</figcaption>\n</figure>"


def _table(table: Table) -> str:
    caption = escape(table.caption)
    head = "".join(
        f'<th{_kind(table, column)} scope="col">{escape(cell)}</th>' for column, cell in enumerate(table.head)
    )
    body = "\n".join(
        f'<tr><th scope="row">{escape(row[0])}</th>'
        + "".join(f"<td{_kind(table, column)}>{escape(cell)}</td>" for column, cell in enumerate(row[1:], start=1))
        + "</tr>"
        for row in table.rows
    )
    # A region with a name that the keyboard reaches: it scrolls where the page is narrow.
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{caption}">\n'
        f"<table>\n<caption>{caption}</caption>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>\n</div>"
    )


def _kind(table: Table, column: int) -> str:
    return ' class="words"' if column in table.words else ""
