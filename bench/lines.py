"""Lines over a logarithmic plane as SVG, one panel for each task: time against size."""

from html import escape
from math import ceil, floor, log10

WIDTH, HEIGHT, LEFT, TOP, BOTTOM, RIGHT = 430, 330, 62, 34, 70, 30
# The legend below each panel: as many to a row as have room for their names.
ABREAST, ROW = 2, 16
SHADES = ["a", "b", "c"]


def panels(path, title, tasks):
    """`tasks` are (name, [(contender, [(size, seconds), ...]), ...]); the first contender of each is ours."""
    columns = 2
    rows = ceil(len(tasks) / columns)
    width, height = WIDTH * columns, 40 + HEIGHT * rows
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="12">',
        "<style>text{fill:#222}.s{fill:#666}.g{stroke:#ddd}.o{stroke:#2a6fb0;stroke-width:2.5}.a{stroke:#b5541c}"
        ".b{stroke:#5a8f29}.c{stroke:#8a5aa8}path{fill:none;stroke-width:1.5}rect{fill:#fff}"
        "@media(prefers-color-scheme:dark){text{fill:#ddd}.s{fill:#999}.g{stroke:#333}rect{fill:#0d1117}.o{stroke:#6cb6ff}"
        ".a{stroke:#f0883e}.b{stroke:#8ddb5f}.c{stroke:#d2a8ff}}</style>",
        f'<rect width="{width}" height="{height}"/>',
        f'<text x="12" y="24" font-size="16" font-weight="bold">{escape(title)}</text>',
    ]
    for index, (name, contenders) in enumerate(tasks):
        x, y = WIDTH * (index % columns), 40 + HEIGHT * (index // columns)
        out.append(f'<g transform="translate({x} {y})">{panel(name, contenders)}</g>')
    out.append("</svg>\n")
    with open(path, "w") as file:
        file.write("\n".join(out))


def panel(name, contenders):
    sizes = [size for _, points in contenders for size, value in points if value]
    values = [value for _, points in contenders for _, value in points if value]
    low, high = floor(log10(min(values))), ceil(log10(max(values)))
    first, last = log10(min(sizes)), max(log10(max(sizes)), log10(min(sizes)) + 0.1)
    across = lambda size: LEFT + (log10(size) - first) / (last - first) * (WIDTH - LEFT - RIGHT)
    up = lambda value: HEIGHT - BOTTOM - (log10(value) - low) / max(high - low, 1) * (HEIGHT - TOP - BOTTOM)
    out = [f'<text x="{LEFT}" y="18" font-weight="bold">{escape(name)}</text>']
    for power in range(low, high + 1):
        y = up(10**power)
        out.append(f'<path class="g" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>')
        out.append(f'<text class="s" x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{unit(power)}</text>')
    for size in sorted(set(sizes)):
        out.append(f'<text class="s" x="{across(size):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{size:,}</text>')
    for index, (who, points) in enumerate(contenders):
        shade = "o" if index == 0 else SHADES[(index - 1) % len(SHADES)]
        drawn = [(across(size), up(value)) for size, value in points if value]
        out.append(f'<path class="{shade}" d="M{"L".join(f"{x:.1f} {y:.1f}" for x, y in drawn)}"/>')
        x = LEFT + (WIDTH - LEFT - RIGHT) / ABREAST * (index % ABREAST)
        y = HEIGHT - BOTTOM + 36 + ROW * (index // ABREAST)
        out.append(f'<path class="{shade}" d="M{x:.0f} {y}h14"/>')
        out.append(f'<text x="{x + 20:.0f}" y="{y + 4}">{escape(who)}</text>')
    return "".join(out)


def unit(power):
    return f"{10**power:g} s" if power >= 0 else f"{10 ** (power + 3):g} ms" if power >= -3 else f"{10 ** (power + 6):g} µs"
