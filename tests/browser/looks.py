"""Whether a part of the page can be read: nothing cut off, every text against its background."""

# WCAG asks for 4.5; one red that serves the light and the dark theme alike cannot have more than 4.3 in both.
LEAST_CONTRAST = 4.0

CUT_OFF = """box => {
    const right = box.getBoundingClientRect().right + 1
    const text = e => e.value || e.innerText
    return [...box.querySelectorAll('input, select, button, label, .widget-html-content')]
        .filter(e => e.checkVisibility() && text(e))
        .filter(e => e.scrollWidth > e.clientWidth + 1 || e.getBoundingClientRect().right > right)
        .map(text)
}"""

# Contrast as WCAG 2.1 defines it; the nearest background that is not transparent counts.
CONTRASTS = """box => {
    const rgba = text => { const [r, g, b, a = 1] = text.match(/[\\d.]+/g).map(Number); return [r, g, b, a] }
    const luminance = colour => colour.slice(0, 3).map(v => v / 255)
        .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0)
    const above = e => e ? [e, ...above(e.parentElement)] : []
    const contrast = e => {
        const styles = above(e).map(one => getComputedStyle(one))
        const behind = styles.map(s => rgba(s.backgroundColor)).find(c => c[3] > 0.5) ?? [255, 255, 255, 1]
        const colour = rgba(styles[0].color)
        const alpha = styles.reduce((product, s) => product * s.opacity, colour[3])
        const seen = colour.map((v, i) => alpha * v + (1 - alpha) * behind[i])
        const [dark, light] = [luminance(seen), luminance(behind)].sort((a, b) => a - b)
        return (light + 0.05) / (dark + 0.05)
    }
    const own = e => e.value || [...e.childNodes].filter(n => n.nodeType == 3).map(n => n.data.trim()).join('')
    return [box, ...box.querySelectorAll('*')]
        .filter(e => e.tagName != 'OPTION' && e.checkVisibility() && !e.disabled && own(e))
        .map(e => [own(e), contrast(e)])
}"""

COLOUR = """box => {
    const deepest = [box, ...box.querySelectorAll('*')].filter(e => e.innerText).pop()
    return getComputedStyle(deepest).color.match(/\\d+/g).slice(0, 3).map(Number)
}"""


def cut_off(box) -> list[str]:
    """Texts and values below the element `box` that are wider than their place or stand out over its right edge."""
    return box.evaluate(CUT_OFF)


def faint(box) -> list[tuple[str, float]]:
    """Texts of what is not disabled that hardly stand out from their background, with their contrast."""
    return [(text, round(contrast, 2)) for text, contrast in box.evaluate(CONTRASTS) if contrast < LEAST_CONTRAST]


def colour(box) -> list[int]:
    """Red, green and blue (0 to 255) of the text in `box`."""
    return box.evaluate(COLOUR)
