"""A timeline as SVG. Texts are placed by a font of fixed width, so that what fits is known beforehand."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import Final, NamedTuple

from bento.pages.axis import Axis, rows
from bento.pages.text import columns, fitted, html
from bento.pages.timeline import MEANING, Bar, BarKind, Group, Lane, Mark, MarkKind, Timeline

LETTER: Final = 7.3
"""Width of a letter at 12 pixels; fonts of fixed width have 0.6 em."""
_BAR: Final = 12.0
_TICK_GAP: Final = 78.0
_LINE: Final = 18.0
_MARK: Final = 5.0


class Form(NamedTuple):
    """How wide a picture is, and where its parts are. ``gutter`` 0: the names of lanes stand above them."""

    name: str
    width: float
    gutter: float
    result: float  # the column at the right
    lane: float  # the height of a lane

    @property
    def is_wide(self) -> bool:
        """Whether names stand beside the lanes."""
        return self.gutter > 0


WIDE: Final = Form("wide", 920.0, 190.0, 140.0, 22.0)
NARROW: Final = Form("narrow", 320.0, 0.0, 0.0, 38.0)


class Placed(NamedTuple):
    """A text in the picture, for what is drawn and for its tests."""

    x: float
    y: float  # of its baseline
    text: str
    style: str
    anchor: str = "start"

    @property
    def left(self) -> float:
        """Where it begins, at the most."""
        width = columns(self.text) * LETTER
        return self.x - {"start": 0.0, "middle": width / 2, "end": width}[self.anchor]

    @property
    def right(self) -> float:
        """Where it ends, at the most."""
        return self.left + columns(self.text) * LETTER


class Drawing:
    """One picture. ``texts`` and ``shapes`` have what it is made of; ``height`` is known when it has been made."""

    def __init__(self, timeline: Timeline, form: Form, *, key: str = "") -> None:
        self.timeline, self.form = timeline, form
        self._id = f"{form.name}{key}"  # of one page, each is another one
        self.texts: list[Placed] = []
        self.shapes: list[str] = []
        self._used: dict[Enum, None] = {}
        edge = _MARK + 3
        self.axis = Axis(timeline.duration_s, form.gutter + edge, form.width - form.result - edge)
        top = self._heads()
        self._y = top + 6
        for group in timeline.groups:
            self._group(group)
        self._lines(top)
        self.height = self._legend(self._y + 8)

    # -- axis -------------------------------------------------------------------------------------

    def _heads(self) -> float:
        """Place the names of moments in rows of their own, and the ticks below; return where the lanes begin."""
        placed = [self._centred(self.axis.x(one.at_s), one.label, "moment") for one in self.timeline.moments]
        numbers = rows([(text.left, text.right) for text in placed], LETTER)
        self.texts += [text._replace(y=12.0 + number * _LINE) for text, number in zip(placed, numbers, strict=True)]
        base = 12.0 + (max(numbers, default=-1) + 1) * _LINE
        last = -LETTER
        for tick in self.axis.ticks(_TICK_GAP):
            text = self._centred(tick.x, tick.label, "tick")._replace(y=base)
            if text.left >= last + LETTER:  # the first ones are moved inwards, and may take the next one's place
                self.texts.append(text)
                last = text.right
        return base + 6

    def _centred(self, x: float, text: str, style: str) -> Placed:
        """Place a text around ``x``, but inside of the picture."""
        half = columns(text) * LETTER / 2
        return Placed(max(half, min(self.form.width - half, x)), 0.0, text, style, "middle")

    def _lines(self, top: float) -> None:
        """Draw the lines of ticks and moments, below everything."""
        lines = [
            f'<line class="grid" x1="{tick.x:.1f}" x2="{tick.x:.1f}" y1="{top:.1f}" y2="{self._y:.1f}"/>'
            for tick in self.axis.ticks(_TICK_GAP)
        ]
        for moment in self.timeline.moments:
            x = self.axis.x(moment.at_s)
            lines.append(f'<line class="moment" x1="{x:.1f}" x2="{x:.1f}" y1="{top:.1f}" y2="{self._y:.1f}"/>')
        self.shapes[:0] = lines

    # -- lanes ------------------------------------------------------------------------------------

    def _group(self, group: Group) -> None:
        self._y += _LINE
        self._write(0.0, self._y, group.title, "group", self.form.width)
        self._y += 6
        for lane in group.lanes:
            self._lane(lane)
        if group.more:
            self._y += _LINE - 4
            self._write(0.0, self._y, group.more, "result", self.form.width)
            self._y += 4

    def _lane(self, lane: Lane) -> None:
        form, top = self.form, self._y
        indent = 10.0 * lane.indent
        middle = top + (form.lane / 2 if form.is_wide else form.lane - _BAR)
        if form.is_wide:
            self._write(indent, middle + 4, lane.label, "label", form.gutter - indent - LETTER)
            self._write(form.width - form.result + LETTER, middle + 4, lane.result, "result", form.result - LETTER)
        else:
            result = fitted(lane.result, int(form.width / 2 / LETTER))
            room = columns(result) * LETTER
            self._write(indent, top + 15, lane.label, "label", form.width - indent - room - 2 * LETTER)
            self.texts.append(Placed(form.width, top + 15, result, "result", "end"))
        self.shapes += [self._bar(bar, middle) for bar in lane.bars]
        self.shapes += [self._mark(mark, middle) for mark in lane.marks]
        self._y += form.lane

    def _write(self, x: float, y: float, text: str, style: str, room: float) -> None:
        words = fitted(text, max(0, int(room / LETTER)))
        if words:
            self.texts.append(Placed(x, y, words, style))

    def _bar(self, bar: Bar, middle: float) -> str:
        self._used[bar.kind] = None
        begin, end = self.axis.x(bar.start_s), self.axis.x(bar.end_s)
        width = max(1.5, end - begin)
        begin = min(begin, self.axis.right - width)
        return self._rect(bar.kind, begin, middle - _BAR / 2, width, bar.title)

    def _rect(self, kind: BarKind, x: float, y: float, width: float, title: str) -> str:
        shape = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{_BAR:.0f}"'
        fill = f' fill="url(#{self._id}-hatch)"' if kind is BarKind.HELD else ""
        return f'<g><title>{html(title)}</title><rect class="{kind.value}" {shape} rx="2"{fill}/></g>'

    def _mark(self, mark: Mark, middle: float) -> str:
        self._used[mark.kind] = None
        return _glyph(mark.kind, self.axis.x(mark.at_s), middle, mark.title)

    # -- legend -----------------------------------------------------------------------------------

    def _legend(self, y: float) -> float:
        """Place what each look means that was used; return the height of all."""
        x, y = 0.0, y + _LINE
        order = [kind for kind in MEANING if kind in self._used]
        for kind in order:
            words = MEANING[kind]
            width = 24 + columns(words) * LETTER
            if x and x + width > self.form.width:
                x, y = 0.0, y + _LINE
            if isinstance(kind, BarKind):
                self.shapes.append(self._rect(kind, x, y - 10, 16.0, words))
            elif isinstance(kind, MarkKind):
                self.shapes.append(_glyph(kind, x + 8, y - 4, words))
            self.texts.append(Placed(x + 22, y, words, "legend"))
            x += width + 2 * LETTER
        return y + 8

    # -- output -----------------------------------------------------------------------------------

    def svg(self, *, style: str = "", margin: int = 0) -> str:
        """Return the SVG element. ``style``: of a picture that stands alone, and then has a ground."""
        return "".join(self._parts(style, margin))

    def _parts(self, style: str, margin: int) -> Iterator[str]:
        own, timeline = self._id, self.timeline
        width, height = self.form.width + 2 * margin, self.height + 2 * margin
        size = f'width="{width:.0f}" height="{height:.0f}"'
        head = ""
        if style:
            head = f'<style>{style}</style><rect class="ground" x="{-margin}" y="{-margin}" {size}/>'
        yield (
            f'<svg xmlns="http://www.w3.org/2000/svg" class="timeline {self.form.name}" role="img"'
            f' {size} viewBox="{-margin} {-margin} {width:.0f} {height:.0f}"'
            f' aria-labelledby="{own}-title {own}-desc"><title id="{own}-title">{html(timeline.title)}</title>'
            f'<desc id="{own}-desc">{html(timeline.text)}</desc>{head}'
            f'<defs><pattern id="{own}-hatch" width="6" height="6" patternUnits="userSpaceOnUse"'
            ' patternTransform="rotate(45)"><rect class="hatch-ground" width="6" height="6"/>'
            '<rect class="hatch" width="3" height="6"/></pattern></defs>'
        )
        yield from self.shapes
        for text in self.texts:
            anchor = "" if text.anchor == "start" else f' text-anchor="{text.anchor}"'
            yield f'<text class="{text.style}" x="{text.x:.1f}" y="{text.y:.1f}"{anchor}>{html(text.text)}</text>'
        yield "</svg>"


def _glyph(kind: MarkKind, x: float, y: float, title: str) -> str:
    a = _MARK
    match kind:
        case MarkKind.SIGNAL:  # points at the bar from above
            shape = f"M{x - a - 1:.1f} {y - 10:.1f}h{2 * a + 2:.0f}l{-a - 1:.0f} 11z"
        case MarkKind.EXITED:
            arc = f"a{a:.0f} {a:.0f} 0 1 0"
            shape = f"M{x - a:.1f} {y:.1f}{arc} {2 * a:.0f} 0{arc} {-2 * a:.0f} 0z"
        case MarkKind.BY_SIGNAL:
            shape = f"M{x - a:.1f} {y - a:.1f}h{2 * a:.0f}v{2 * a:.0f}h{-2 * a:.0f}z"
        case MarkKind.ALIVE:
            shape = f"M{x - a:.1f} {y - a:.1f}l{2 * a:.0f} {a:.0f}l{-2 * a:.0f} {a:.0f}z"
        case MarkKind.KILLED | MarkKind.FAILED:
            shape = f"M{x - a:.1f} {y - a:.1f}l{2 * a:.0f} {2 * a:.0f}m0 {-2 * a:.0f}l{-2 * a:.0f} {2 * a:.0f}"
    return f'<g><title>{html(title)}</title><path class="{kind.value}" d="{shape}"/></g>'
