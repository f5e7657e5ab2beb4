"""Draws how shares grow with a load, as a part of an SVG: a panel with a line for each contender, named at its end. The
load's axis is logarithmic, the other one from 0 to 100 %."""

import math
from xml.sax.saxutils import escape

HEAD, HEIGHT, FOOT = 46, 190, 40  # px: above the lines, of them, below
LEFT, RIGHT = 64, 230  # px beside the lines: for the axis, for the names
NAME = 16  # px between two names at least

STYLE = '''
  .axis { stroke: #d1d9e0 }
  .line { fill: none; stroke: #8c96a1; stroke-width: 2 }
  .dot { fill: #8c96a1 }
  .second .line { stroke-dasharray: 6 4 }
  .third .line { stroke-dasharray: 2 4 }
  .ours .line { stroke: #0f7b6c; stroke-width: 3 }
  .ours .dot { fill: #0f7b6c }
  .end { font-size: 12px }
  .leader { stroke: #d1d9e0 }
  @media (prefers-color-scheme: dark) {
    .axis, .leader { stroke: #3d444d }
    .line { stroke: #77818c }
    .dot { fill: #77818c }
    .ours .line { stroke: #2fb5a2 }
    .ours .dot { fill: #2fb5a2 }
  }
'''


def height():
    return HEAD + HEIGHT + FOOT


def panel(title, unit, curves, classes, top, width):
    """`curves`: {name: [[load, share], ...]}; `classes`: {name: how its line looks, see STYLE}. Returns text."""
    loads = sorted({load for curve in curves.values() for load, _ in curve})
    ground, right = top + HEAD + HEIGHT, width - RIGHT

    def x(load):
        return LEFT + (right - LEFT) * math.log(load / loads[0]) / math.log(loads[-1] / loads[0])

    def y(share):
        return ground - HEIGHT * min(share, 1)

    drawn = [f'<text class="title" x="20" y="{top + 14}">{escape(title)}</text>\n'
             f'<text class="note" x="20" y="{top + 34}">{escape(unit)}</text>\n']
    for part in 0, 0.5, 1:
        drawn.append(f'<path class="axis" d="M{LEFT} {y(part):.1f}H{right}"/>'
                     f'<text class="note" x="{LEFT - 8}" y="{y(part) + 4:.1f}" text-anchor="end">{part:.0%}</text>\n')
    for load in loads:
        drawn.append(f'<text class="note" x="{x(load):.1f}" y="{ground + 18}" text-anchor="middle">{load:g}×</text>\n')
    places = apart({name: y(curve[-1][1]) for name, curve in curves.items()})
    # The first of them lies above the others.
    for name, curve in reversed(curves.items()):
        points = [(f'{x(load):.1f}', f'{y(share):.1f}') for load, share in curve]
        dots = ''.join(f'<circle class="dot" cx="{left}" cy="{low}" r="3"/>' for left, low in points)
        drawn.append(f'<g class="{classes[name]}"><path class="line" d="M{"L".join(" ".join(point) for point in points)}"/>'
                     f'{dots}<path class="leader" d="M{float(points[-1][0]) + 5:.1f} {points[-1][1]}L{right + 14} '
                     f'{places[name]:.1f}"/><text class="end" x="{right + 18}" y="{places[name] + 4:.1f}">{escape(name)} '
                     f'{curve[-1][1]:.0%}</text></g>\n')
    return ''.join(drawn)


def apart(heights):
    """The same places, moved down and then up so that none is nearer to the next one than NAME."""
    names = sorted(heights, key=heights.get)
    places = {}
    for before, name in zip([None, *names], names):
        places[name] = max(heights[name], places[before] + NAME) if before else heights[name]
    spill = places[names[-1]] - max(heights.values())
    for after, name in zip([None, *reversed(names)], reversed(names)):
        places[name] = min(places[name] - spill / 2, places[after] - NAME) if after else places[name] - spill / 2
    return places
