"""How texts of a form look: plain text to HTML, in colours that can be read in a light and in a dark theme."""

import html

RED = "#e53935"  # legible on white and on black
MUTED = "opacity: 0.8"  # of the theme's own colour, light or dark


def styled(text: str, style: str = "") -> str:
    """HTML of a plain `text`, with `style` as further CSS."""
    return f'<div style="line-height: 1.3; {style}">{html.escape(text)}</div>'
