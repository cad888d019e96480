"""Horizontal bars as SVG, in two shades: what the benchmarks put into docs/."""

from html import escape

WIDTH, LABEL, ROW, BAR = 860, 300, 26, 14


def bars(path, title, subtitle, rows, unit, logarithmic=False, marks=None):
    """`rows` are (label, value, also) with `also` a second value behind the first, or None; `marks` says what the two are."""
    longest = max(max(value, also or 0) for _, value, also in rows)
    least = min(value for _, value, _ in rows)
    room = WIDTH - LABEL - 110
    place = linear(longest, room) if not logarithmic else decades(least, longest, room)
    height = 74 + ROW * len(rows) + (22 if marks else 0)
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" '
        'font-family="sans-serif" font-size="13">',
        "<style>text{fill:#222}.s{fill:#666}.a{fill:#2a6fb0}.b{fill:#a9c8e6}.o{fill:#8a8a8a}.p{fill:#d2d2d2}"
        "@media(prefers-color-scheme:dark){text{fill:#ddd}.s{fill:#999}.b{fill:#23496d}.p{fill:#444}}</style>",
        f'<text x="12" y="24" font-size="16" font-weight="bold">{escape(title)}</text>',
        f'<text class="s" x="12" y="44">{escape(subtitle)}</text>',
    ]
    for index, (label, value, also) in enumerate(rows):
        top = 62 + ROW * index
        dark, light = ("a", "b") if label.startswith(("afiles", "awatch")) else ("o", "p")
        out.append(f'<text x="{LABEL - 8}" y="{top + 12}" text-anchor="end">{escape(label)}</text>')
        if also:
            out.append(f'<rect class="{light}" x="{LABEL}" y="{top}" width="{place(also):.1f}" height="{BAR}"/>')
        out.append(f'<rect class="{dark}" x="{LABEL}" y="{top}" width="{place(value):.1f}" height="{BAR}"/>')
        end = LABEL + place(max(value, also or 0)) + 6
        said = shown(value) + (f" / {shown(also)}" if also else "")
        out.append(f'<text x="{end:.1f}" y="{top + 12}">{said} {unit}</text>')
    if marks:
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
