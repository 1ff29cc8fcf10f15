"""The looks of pages and pictures: two schemes of colours, for the screen and for paper. Nothing is loaded."""

from __future__ import annotations

from typing import Final

_FIXED: Final = 'ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace'

_LIGHT: Final = """\
--ground:#ffffff;--raised:#f5f6f8;--text:#1b1f24;--muted:#545d68;--line:#d4d9df;--link:#0b57b0;
--good:#0f5323;--good-ground:#d9f2df;--fair:#5c3d00;--fair-ground:#fdecc8;--bad:#7d150e;--bad-ground:#fbdeda;
--phase:#5b6fb5;--cleanup:#8a93a3;--hook:#7a4fa3;--process:#3c83a8;--held:#3c83a8;--held-ground:#ffffff;
--signal:#a84300;--exited:#12682c;--killed:#b3170d;--request:#2f7d6d"""

_DARK: Final = """\
--ground:#14181d;--raised:#1d232a;--text:#e7e9ec;--muted:#a9b2bd;--line:#3a434e;--link:#8ebfff;
--good:#a5e5b5;--good-ground:#16381f;--fair:#ffd98a;--fair-ground:#453207;--bad:#ffb8b0;--bad-ground:#511813;
--phase:#8b9be0;--cleanup:#7f8a99;--hook:#b890dd;--process:#5aa6cd;--held:#5aa6cd;--held-ground:#14181d;
--signal:#ffa35c;--exited:#6fd08a;--killed:#ff7d72;--request:#62c2ae"""

_PICTURE: Final = f"""\
.timeline text{{font:12px {_FIXED};fill:var(--text);
paint-order:stroke;stroke:var(--ground);stroke-width:3px;stroke-linejoin:round}}
.timeline .group{{font-weight:bold}}
.timeline .tick,.timeline .result,.timeline .legend,.timeline .moment{{fill:var(--muted)}}
.timeline .grid{{stroke:var(--line);stroke-width:1}}
.timeline line.moment{{stroke:var(--muted);stroke-width:1.5;stroke-dasharray:4 3}}
.phase{{fill:var(--phase)}}.cleanup{{fill:var(--cleanup);stroke:var(--ground);stroke-width:.5}}.hook{{fill:var(--hook)}}
.process{{fill:var(--process)}}.request{{fill:var(--request);stroke:var(--ground);stroke-width:.5}}
.unknown{{fill:var(--ground);stroke:var(--process);stroke-dasharray:3 2}}
.held{{stroke:var(--held)}}.hatch{{fill:var(--held)}}.hatch-ground{{fill:var(--held-ground)}}
.signal{{fill:var(--signal);stroke:var(--ground)}}.exited{{fill:var(--exited);stroke:var(--ground)}}
.by-signal{{fill:var(--signal);stroke:var(--ground)}}.alive{{fill:var(--killed);stroke:var(--ground)}}
.killed,.failed{{fill:none;stroke:var(--killed);stroke-width:2.5}}
"""

PICTURE: Final = f""":root{{{_LIGHT}}}
@media (prefers-color-scheme:dark){{:root{{{_DARK}}}}}
.ground{{fill:var(--ground)}}
{_PICTURE}"""
"""Of a picture that stands alone."""

PAGE: Final = f""":root{{color-scheme:light dark;{_LIGHT}}}
@media (prefers-color-scheme:dark){{:root{{{_DARK}}}}}
*{{box-sizing:border-box}}
html{{-webkit-text-size-adjust:100%}}
body{{margin:0;background:var(--ground);color:var(--text);overflow-wrap:anywhere;
font:16px/1.5 system-ui,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}}
header,main,footer{{max-width:968px;margin:0 auto;padding:0 24px}}
header{{padding-top:24px}}
h1{{font-size:1.5rem;line-height:1.25;margin:0 0 12px}}
h2{{font-size:1.2rem;margin:32px 0 8px}}
h3{{font-size:1rem;margin:24px 0 6px}}
p{{margin:0 0 10px;max-width:72ch}}
a{{color:var(--link)}}
a:focus-visible,summary:focus-visible,.scroll:focus-visible{{outline:3px solid var(--link);outline-offset:2px}}
code,.pid,td.time,td.number{{font-family:{_FIXED};font-size:.92em}}
.pid,.muted,footer,th,dt,figcaption{{color:var(--muted)}}
.verdict{{border-left:6px solid;padding:12px 16px;border-radius:4px;margin:0 0 16px;max-width:none}}
.verdict b{{font-size:1.1rem}}
.good{{color:var(--good);background:var(--good-ground);border-color:var(--good)}}
.fair{{color:var(--fair);background:var(--fair-ground);border-color:var(--fair)}}
.bad{{color:var(--bad);background:var(--bad-ground);border-color:var(--bad)}}
.tag{{display:inline-block;padding:0 8px;border-radius:4px;font-weight:600}}
.todo{{background:var(--raised);border:1px solid var(--line);border-radius:4px;padding:12px 16px;margin:0 0 12px}}
.todo p:last-child{{margin:0}}
dl{{margin:0}}
.facts{{display:grid;grid-template-columns:repeat(auto-fill,minmax(190px,1fr));gap:8px 24px}}
.facts dt{{font-size:.85rem}}
dd{{margin:0}}
figure{{margin:0 0 8px}}
svg.timeline{{display:block;max-width:100%;height:auto}}
svg.narrow{{display:none}}
ul.tree,ul.tree ul{{list-style:none;margin:0;padding:0}}
ul.tree ul{{margin-left:7px;padding-left:14px;border-left:2px solid var(--line)}}
summary{{cursor:pointer;padding:3px 0}}
summary code{{font-weight:600}}
.tree dl{{padding:0 0 8px 20px}}
.tree dl div{{display:grid;grid-template-columns:140px 1fr;gap:0 12px}}
pre{{margin:0;white-space:pre-wrap;font:.9rem/1.4 {_FIXED}}}
.finding{{border-top:1px solid var(--line);padding:1px 0 8px}}
.changes div{{display:grid;grid-template-columns:140px 1fr;gap:0 12px;padding:3px 0}}
h4,h5{{font-size:.95rem;margin:16px 0 6px}}
.scroll{{overflow-x:auto;border:1px solid var(--line);border-radius:4px}}
table{{border-collapse:collapse;width:100%;font-size:.9rem}}
th,td{{text-align:left;vertical-align:top;padding:5px 10px;border-bottom:1px solid var(--line)}}
th,td{{overflow-wrap:break-word}}
tbody tr:last-child td,tbody tr:last-child th{{border-bottom:0}}
thead th{{background:var(--raised);white-space:nowrap}}
td.time,td.number{{white-space:nowrap}}
td.words{{min-width:16ch;max-width:64ch}}
footer{{font-size:.85rem;padding:32px 24px 24px}}
@media (max-width:700px){{
header,main,footer{{padding-left:16px;padding-right:16px}}
svg.wide{{display:none}}
svg.narrow{{display:block;width:100%;max-width:480px}}
.tree dl div,.changes div{{display:block;margin-bottom:4px}}
}}
@media print{{
:root{{{_LIGHT}}}
body{{font-size:10pt;background:none}}
.scroll{{overflow:visible;border:0}}
h2,h3{{break-after:avoid}}
tr,figure,li>details{{break-inside:avoid}}
details::details-content{{content-visibility:visible;block-size:auto}}
}}
{_PICTURE}"""
