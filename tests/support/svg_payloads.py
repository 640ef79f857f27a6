"""SVG images that run code, load, forge or never finish, and images of common libraries that must not change."""

from __future__ import annotations

import base64
from typing import Final

from payloads import EVIL, RUN, SVG, data_url, huge_png

#: Each contains a visible element, so that the rest of the image can be checked.
_SHAPE: Final = '<rect width="90" height="90" fill="green"/>'
_PIXEL: Final = huge_png(1, 1)
_FRAME: Final = data_url(f'<svg {SVG} onload="{RUN}"/>', "image/svg+xml")


def svg(inside: str, attributes: str = "", before: str = "") -> str:
    return f'{before}<svg {SVG} width="90" height="90" {attributes}>{_SHAPE}{inside}</svg>'


#: Images of which a harmless part is kept.
DISARMED: Final = {
    "script": svg(f"<script>{RUN}</script>"),
    "script from elsewhere": svg(f'<script href="{EVIL}/x.js"/><script xlink:href="{EVIL}/x.js"/>'),
    "script with a prefix": svg(f'<s:script xmlns:s="http://www.w3.org/2000/svg">{RUN}</s:script>'),
    "script in CDATA": svg(f"<script><![CDATA[{RUN}]]></script>"),
    "script in a style": svg(f"<style><script>{RUN}</script></style>"),
    "script in defs": svg(f"<defs><g><script>{RUN}</script></g></defs>"),
    "script of HTML": svg(f'<script xmlns="http://www.w3.org/1999/xhtml">{RUN}</script>'),
    "frame of HTML": svg(f'<iframe xmlns="http://www.w3.org/1999/xhtml" src="{EVIL}"/>'),
    "onload": svg("", f'onload="{RUN}"'),
    "onclick": svg(f'<circle r="9" onclick="{RUN}" onmouseover="{RUN}" onfocusin="{RUN}"/>'),
    "handler of events": svg(
        f'<handler xmlns:ev="http://www.w3.org/2001/xml-events" ev:event="load">{RUN}</handler>'
        f'<g xmlns:ev="http://www.w3.org/2001/xml-events" ev:event="load" ev:handler="#x"/>'
    ),
    "listener": svg('<listener xmlns="http://www.w3.org/2001/xml-events" event="load" handler="#x"/>'),
    "link with a script": svg(f'<a href="javascript:{RUN}"><text y="9">x</text></a>'),
    "link of XLink": svg(f'<a xlink:href="javascript:{RUN}"><text y="9">x</text></a>'),
    "link behind another": svg(f'<a href="javascript:{RUN}" xlink:href="#x"><rect width="90" height="90"/></a>'),
    "link before another": svg(f'<a xlink:href="javascript:{RUN}" href="#x"><rect width="90" height="90"/></a>'),
    "link elsewhere": svg(f'<a href="{EVIL}" target="_top"><rect width="90" height="90"/></a>'),
    "link with its own prefix": svg(
        f'<a xmlns:y="http://www.w3.org/1999/xlink" y:href="javascript:{RUN}"><rect width="90" height="90"/></a>'
    ),
    "animated link": svg(
        f'<a><animate attributeName="href" values="javascript:{RUN}"/><rect width="9" height="9"/></a>'
    ),
    "set link": svg(f'<a id="a"/><set href="#a" attributeName="href" to="javascript:{RUN}"/>'),
    "animation of an event": svg(f'<animate onbegin="{RUN}" attributeName="x" dur="1s"/>'),
    "moving cover": svg('<rect width="999" height="999"><animateTransform attributeName="transform"/></rect>'),
    "discarded": svg('<discard begin="0s"/>'),
    "foreign object": svg(
        f'<foreignObject width="9" height="9"><img xmlns="http://www.w3.org/1999/xhtml" src="x" onerror="{RUN}"/>'
        "</foreignObject>"
    ),
    "image from elsewhere": svg(f'<image href="{EVIL}/x.png" width="9" height="9"/>'),
    "image behind another": svg(f'<image href="{EVIL}/x.png" xlink:href="#x" width="9" height="9"/>'),
    "image of a frame": svg(f'<image href="{_FRAME}" width="9" height="9"/>'),
    "image of HTML": svg('<image href="data:text/html;base64,PHNjcmlwdD4=" width="9" height="9"/>'),
    "image that fills the memory": svg(f'<image href="data:image/png;base64,{huge_png(60_000, 60_000)}"/>'),
    "image that is another": svg(f'<image href="data:image/gif;base64,{_PIXEL}" width="9" height="9"/>'),
    "image by a base": svg('<image href="x.png" width="9" height="9"/>', f'xml:base="{EVIL}/"'),
    "image of a filter": svg(f'<filter id="f"><feImage href="{EVIL}/x.png"/></filter><g filter="url(#f)"/>'),
    "use of another file": svg(f'<use href="{EVIL}/x.svg#x"/><use xlink:href="{EVIL}/x.svg#x"/>'),
    "use of data": svg(f'<use href="{_FRAME}#x"/>'),
    "gradient of another file": svg(f'<linearGradient id="g" href="{EVIL}/x.svg#g"/>'),
    "fill from elsewhere": svg(f'<rect width="9" height="9" fill="url({EVIL}/x.svg#g)"/>'),
    "fill with a quote": svg(f'<rect width="9" height="9" fill="url(\'{EVIL}/x.svg#g\')"/>'),
    "fill with an escape": svg(f'<rect width="9" height="9" fill="u\\72l({EVIL}/x.svg#g)"/>'),
    "style from elsewhere": svg(f'<rect width="9" height="9" style="fill:url({EVIL}/x)"/>'),
    "style with a reference": svg(f'<rect width="9" height="9" style="fill:&#117;rl({EVIL}/x)"/>'),
    "style with a comment": svg(f'<rect width="9" height="9" style="fill:/**/url({EVIL}/x)"/>'),
    "style with an escape": svg(f'<rect width="9" height="9" style="fi\\6cl:\\75 rl({EVIL}/x);mask:url(\\23 x)"/>'),
    "style with an image set": svg(f'<rect width="9" height="9" style="mask:image-set(\'{EVIL}/x\' 1x)"/>'),
    "style with a cursor": svg(
        f'<rect width="9" height="9" style="cursor:url({EVIL}/x),auto" cursor="url({EVIL}/y)"/>'
    ),
    "style with a background": svg("", f'style="background:url({EVIL}/x.png)"'),
    "style with a broken string": svg(f"<g style=\"font-family:'a\n;fill:url({EVIL}/x);b:'\"><text y='9'>x</text></g>"),
    "sheet with an import": svg(f"<style>@import url({EVIL}/x.css);</style>"),
    "sheet with a reference": svg(f'<style>@&#105;mport "{EVIL}/t.css";</style>'),
    "sheet with an escape": svg(f'<style>@\\69mport "{EVIL}/t.css";</style>'),
    "sheet with a font": svg(f"<style>@font-face{{font-family:x;src:url({EVIL}/x)}}text{{font-family:x}}</style>"),
    "sheet with a background": svg(f"<style>svg{{background:url({EVIL}/x.png)}}</style>"),
    "sheet that is nested": svg(f"<style>g{{fill:red;rect{{fill:url({EVIL}/x)}}}}</style>"),
    "sheet of a link": svg("", before=f'<?xml-stylesheet href="{EVIL}/x.css"?>'),
    "sheet of HTML": svg(f'<link xmlns="http://www.w3.org/1999/xhtml" rel="stylesheet" href="{EVIL}/x.css"/>'),
    "mask from elsewhere": svg(f'<rect width="9" height="9" mask="url({EVIL}/x.svg#m)" clip-path="url({EVIL}/y#c)"/>'),
    "marker from elsewhere": svg(f'<path d="M0 0L9 9" marker-mid="url({EVIL}/x.svg#m)"/>'),
    "filter from elsewhere": svg(f'<rect width="9" height="9" filter="url({EVIL}/x.svg#f)"/>'),
    "audio and video": svg(f'<video xmlns="http://www.w3.org/1999/xhtml" src="{EVIL}/x"/><audio href="{EVIL}/x"/>'),
    "text of markup": svg(
        f"<title>&lt;script&gt;{RUN}&lt;/script&gt;</title><text>&lt;img src=x onerror={RUN}&gt;</text>"
    ),
}

#: Images that are rejected: not SVG in UTF-8, or with a document type that could change their content.
REFUSED: Final = {
    "document type": f"<!DOCTYPE svg>{svg('')}",
    "document type from elsewhere": f'<!DOCTYPE svg SYSTEM "{EVIL}/x.dtd">{svg("")}',
    "known document type from elsewhere": f'<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "{EVIL}/x.dtd">{svg("")}',
    "known document type with a script": '<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" '
    f'"http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd" [<!ATTLIST svg onload CDATA "{RUN}">]>{svg("")}',
    "two document types": '<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" '
    f'"http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd"><!DOCTYPE svg>{svg("")}',
    "entity": f'<!DOCTYPE svg [<!ENTITY x "{RUN}">]>{svg("<text>&x;</text>")}',
    "entity that nothing defines": svg("<text>&x;</text>"),
    "UTF-16 by declaration": svg("", before='<?xml version="1.0" encoding="UTF-16"?>'),
    "Latin-1": svg("", before='<?xml version="1.0" encoding="ISO-8859-1"?>'),
    "UTF-7": svg("", before='<?xml version="1.0" encoding="UTF-7"?>'),
    "UTF-16": base64.b64encode(svg("").encode("utf-16")).decode(),
    "UTF-32": base64.b64encode(svg("").encode("utf-32")).decode(),
    "UTF-16 with an entity": base64.b64encode(
        f'<?xml version="1.0" encoding="UTF-16"?><!DOCTYPE svg [<!ENTITY x "&#60;script>">]>{svg("&x;")}'.encode(
            "utf-16"
        )
    ).decode(),
    "invalid UTF-8": base64.b64encode(svg("<text>\xff</text>").encode("latin-1")).decode(),
    "HTML": f'<html xmlns="http://www.w3.org/1999/xhtml">{svg("")}</html>',
    "no namespace": f"<svg>{_SHAPE}</svg>",
    "another namespace": f'<svg xmlns="http://www.w3.org/1999/xhtml">{_SHAPE}</svg>',
    "broken": svg("<g>"),
    "empty": "",
    "deep": "<g>" * 10_000 + svg("") + "</g>" * 10_000,
}


def _levels(level: str, count: int = 9, repeated: int = 12) -> str:
    """Return definitions that each use the one before; `{i}` and `{j}` are their numbers, and `*` repeats."""
    found = []
    for number in range(1, count + 1):
        head, repeats, tail = level.split("*")
        filled = [part.replace("{i}", str(number)).replace("{j}", str(number - 1)) for part in (head, repeats, tail)]
        found.append(filled[0] + filled[1] * repeated + filled[2])
    return "".join(found)


_LEAF: Final = '<rect id="x0" width="1" height="1"/><rect id="z"/>'
_PATTERN: Final = '<pattern id="x{i}" width="1" height="1">'

#: Small images that draw more than a browser can finish.
BOMBS: Final = {
    "use": svg(_LEAF + _levels('<g id="x{i}">*<use href="#x{j}"/>*</g>') + '<use href="#x9"/>'),
    "use of XLink": svg(_LEAF + _levels('<g id="x{i}">*<use xlink:href="#x{j}"/>*</g>') + '<use xlink:href="#x9"/>'),
    "use behind another": svg(
        _LEAF + _levels('<g id="x{i}">*<use href="#x{j}" xlink:href="#z"/>*</g>') + '<use href="#x9" xlink:href="#z"/>'
    ),
    "use of symbols": svg(_LEAF + _levels('<symbol id="x{i}">*<use href="#x{j}"/>*</symbol>') + '<use href="#x9"/>'),
    "use with blanks": svg(_LEAF + _levels('<g id="x{i}">*<use href=" #x{j} "/>*</g>') + '<use href="#x9"/>'),
    "use of each other": svg(
        '<g id="a"><use href="#b"/><use href="#b"/></g><g id="b"><use href="#a"/><use href="#a"/></g>'
    ),
    "long chain": svg(_LEAF + _levels('<g id="x{i}">*<use href="#x{j}"/>*</g>', 5000, 1) + '<use href="#x5000"/>'),
    "pattern": svg(
        '<pattern id="x0"/>'
        + _levels(f'{_PATTERN}*<rect width="9" height="9" fill="url(#x{{j}})"/>*</pattern>')
        + '<rect width="9" height="9" fill="url(#x9)"/>'
    ),
    "pattern in strokes": svg(
        '<pattern id="x0"/>'
        + _levels(f'{_PATTERN}*<path d="M0 0h9" style="stroke: url(\'#x{{j}}\')"/>*</pattern>')
        + '<path d="M0 0h9" stroke="url(#x9)"/>'
    ),
    "pattern that is inherited": svg(
        '<pattern id="x0"/>'
        + _levels(f'<g fill="url(#x{{j}})">{_PATTERN}*<rect width="9" height="9"/>*</pattern></g>')
        + '<rect width="9" height="9" fill="url(#x9)"/>'
    ),
    "pattern behind an invalid style": svg(
        '<pattern id="x0"/>'
        + _levels(f'{_PATTERN}*<rect width="9" height="9" fill="url(#x{{j}})" style="fill:no color"/>*</pattern>')
        + '<rect width="9" height="9" fill="url(#x9)"/>'
    ),
    "pattern with another's content": svg(
        '<pattern id="x0"/>'
        + _levels(
            '<pattern id="y{i}" width="1" height="1">*<rect width="9" height="9" fill="url(#x{j})"/>*</pattern>'
            '<pattern id="x{i}" href="#y{i}"/>'
        )
        + '<rect width="9" height="9" fill="url(#x9)"/>'
    ),
    "pattern given to what is used": svg(
        '<pattern id="x0"/>'
        + _levels(
            f'<g id="g{{i}}">{"<rect/>" * 12}</g>{_PATTERN}*<use href="#g{{i}}" fill="url(#x{{j}})"/>*</pattern>', 9, 1
        )
        + '<rect width="9" height="9" fill="url(#x9)"/>'
    ),
    "marker": svg(
        '<marker id="x0"/>'
        + _levels('<marker id="x{i}">*<path d="M0 0L1 1" marker-end="url(#x{j})"/>*</marker>')
        + '<path d="M0 0L1 1" marker-end="url(#x9)"/>'
    ),
    "marker at each point": svg(
        f'<marker id="x0">{"<rect/>" * 1000}</marker><path d="M0 0{"h1" * 10_000}" marker-mid="url(#x0)"/>'
    ),
    "marker of a group": svg(
        f'<marker id="x0">{"<rect/>" * 1000}</marker>'
        f'<g style="marker: url(#x0)"><polyline points="{"1 1 " * 10_000}"/></g>'
    ),
    "mask": svg(
        '<mask id="x0"/>'
        + _levels('<mask id="x{i}">*<rect width="9" height="9" mask="url(#x{j})"/>*</mask>')
        + '<rect width="9" height="9" mask="url(#x9)"/>'
    ),
    "clip path": svg(
        '<clipPath id="x0"/>'
        + _levels('<clipPath id="x{i}">*<rect width="9" height="9" clip-path="url(#x{j})"/>*</clipPath>')
        + '<g clip-path="url(#x9)"/>'
    ),
    "all in turn": svg(
        '<pattern id="x0"/>'
        + _levels(
            f'{_PATTERN}*<g mask="url(#m{{i}})"><path d="M0 0h9" marker-start="url(#k{{i}})"/></g>*</pattern>'
            '<mask id="m{i}"><rect fill="url(#x{j})"/></mask><marker id="k{i}"><rect fill="url(#x{j})"/></marker>',
        )
        + '<rect width="9" height="9" fill="url(#x9)"/>'
    ),
    "many elements": svg("<g/>" * 600_000),
}

#: As Graphviz and plotly.js write them.
GRAPHVIZ: Final = f"""<?xml version="1.0" encoding="UTF-8" standalone="no"?>
<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN"
 "http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd">
<!-- Generated by graphviz version 9.0.0 (20230911.1827) -->
<!-- Title: G Pages: 1 -->
<svg width="82pt" height="116pt" viewBox="0.00 0.00 82.24 116.00" {SVG}>
<g id="graph0" class="graph" transform="scale(1 1) rotate(0) translate(4 112)">
<title>G</title>
<polygon fill="white" stroke="none" points="-4,4 -4,-112 78.24,-112 78.24,4 -4,4"/>
<!-- a -->
<g id="node1" class="node"><title>a</title><g id="a_node1"><a xlink:href="https://example.org/" xlink:title="hint">
<ellipse fill="none" stroke="black" cx="37.12" cy="-90" rx="27" ry="18"/>
<text text-anchor="middle" x="37.12" y="-84.95" font-family="Times,serif" font-size="14.00">a &amp; b</text></a></g></g>
<g id="edge1" class="edge"><title>a&#45;&gt;b</title>
<path fill="none" stroke="blue" stroke-dasharray="5,2" d="M37.12,-71.7C37.12,-64.41 37.12,-55.73 37.12,-47.54"/>
<polygon fill="blue" stroke="blue" points="40.62,-47.62 37.12,-37.62 33.62,-47.62 40.62,-47.62"/></g>
</g>
</svg>
"""
PLOTLY: Final = f"""<svg class="main-svg" {SVG} width="300" height="200" style="" viewBox="0 0 300 200">
<rect x="0" y="0" width="300" height="200" style="fill: rgb(255, 255, 255); fill-opacity: 1;"/>
<defs id="defs-1a2b3c"><g class="clips"><clipPath id="clip1a2b3cxyplot" class="plotclip">
<rect width="200" height="120"/></clipPath></g><g class="gradients"><linearGradient id="g1" x1="0" x2="0" y1="1" y2="0"
gradientUnits="objectBoundingBox"><stop offset="0%" stop-color="rgb(68, 1, 84)" stop-opacity="1"/><stop offset="100%"
stop-color="rgb(253, 231, 37)" stop-opacity="1"/></linearGradient></g><g class="patterns"><pattern id="p1" width="4"
height="4" patternUnits="userSpaceOnUse"><path d="M0,4L4,0" style="stroke: rgb(99, 110, 250); stroke-width: 1px;"/>
</pattern></g></defs>
<g class="plot" transform="translate(60,40)" clip-path="url('#clip1a2b3cxyplot')">
<path class="js-line" d="M0,110L50,60L100,90L190,10" style="vector-effect: none; fill: none; stroke: rgb(99, 110, 250);
stroke-opacity: 1; stroke-width: 2px; opacity: 1;"/>
<rect x="20" y="20" width="60" height="80" style="fill: url('#p1'); stroke: rgb(0, 0, 0);"/>
<rect x="120" y="20" width="20" height="80" style="fill: url(#g1);"/></g>
<g class="infolayer"><text class="gtitle" x="15" y="25" text-anchor="start" style="opacity: 1; font-family: &quot;Open
Sans&quot;, verdana, arial, sans-serif; font-size: 17px; fill: rgb(42, 63, 95); font-weight: normal; white-space: pre;"
>A <tspan style="font-weight:bold">title</tspan> &lt;here&gt;</text></g>
</svg>
"""
