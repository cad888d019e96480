"""Horizontal bars as SVG, in two shades: what the benchmarks put into docs/."""

from html import escape

WIDTH, LABEL, ROW, BAR = 860, 300, 26, 14


def bars(path, title, subtitle, rows, unit, logarithmic=False, marks=None, apart=None):
    """`rows` are (label, value, also) with `also` a second value, or None: behind the first, where `marks` says what the two are, or
    below it, where `apart` says that of each."""
    longest = max(max(value, also or 0) for _, value, also in rows)
    least = min(value for _, value, _ in rows)
    room = WIDTH - LABEL - 110
    place = linear(longest, room) if not logarithmic else decades(least, longest, room)
    row = ROW + BAR if apart else ROW
    height = 74 + row * len(rows) + (22 if marks or apart else 0)
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" '
        'font-family="sans-serif" font-size="13">',
        "<style>text{fill:#222}.s{fill:#666}.a{fill:#2a6fb0}.b{fill:#a9c8e6}.o{fill:#8a8a8a}.p{fill:#d2d2d2}"
        "@media(prefers-color-scheme:dark){text{fill:#ddd}.s{fill:#999}.b{fill:#23496d}.p{fill:#444}}</style>",
        f'<text x="12" y="24" font-size="16" font-weight="bold">{escape(title)}</text>',
        f'<text class="s" x="12" y="44">{escape(subtitle)}</text>',
    ]
    bar = lambda shade, top, value: f'<rect class="{shade}" x="{LABEL}" y="{top}" width="{place(value):.1f}" height="{BAR}"/>'
    said = lambda top, value, text: f'<text x="{LABEL + place(value) + 6:.1f}" y="{top + 12}">{text} {unit}</text>'
    for index, (label, value, also) in enumerate(rows):
        top = 62 + row * index
        dark, light = ("a", "b") if label.startswith(("afiles", "awatch")) else ("o", "p")
        out.append(f'<text x="{LABEL - 8}" y="{top + 12}" text-anchor="end">{escape(label)}</text>')
        if apart:
            out += [bar(dark, top, value), said(top, value, shown(value))]
            if also:
                out += [bar(light, top + BAR, also), said(top + BAR, also, shown(also))]
            continue
        if also:
            out.append(bar(light, top, also))
        out.append(bar(dark, top, value))
        out.append(said(top, max(value, also or 0), shown(value) + (f" / {shown(also)}" if also else "")))
    if apart:
        for shade, x, words in zip("op", (LABEL, LABEL + 300), apart):
            out.append(f'<rect class="{shade}" x="{x}" y="{height - 20}" width="{BAR}" height="{BAR - 4}"/>')
            out.append(f'<text class="s" x="{x + BAR + 6}" y="{height - 10}">{escape(words)}</text>')
    elif marks:
        out.append(f'<text class="s" x="{LABEL}" y="{height - 10}">{escape(marks)}</text>')
    out.append("</svg>\n")
    with open(path, "w") as file:
        file.write("\n".join(out))


def linear(longest, room):
    return lambda value: max(1.0, room * value / longest)


def decades(least, longest, room):
    from math import floor, log10

    low = floor(log10(least))
    span = max(log10(longest) - low, 0.5)
    return lambda value: max(1.0, room * (log10(value) - low) / span)


def shown(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"
