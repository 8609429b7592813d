"""Text for LaTeX in ASCII, so that every engine reads it, with what it has no name for as `U+4E2D`."""

import unicodedata

_MATH = r"""
≥ \geq ≤ \leq ≈ \approx ≠ \neq ≡ \equiv ∼ \sim ∞ \infty √ \surd ∑ \sum ∈ \in ∂ \partial ¬ \neg
× \times ÷ \div ± \pm − - · \cdot • \bullet → \rightarrow ← \leftarrow ↑ \uparrow ↓ \downarrow ⇒ \Rightarrow
✓ \surd ✔ \surd ✗ \times ✘ \times ² ^2 ³ ^3 ¹ ^1 ½ 1/2 µ \mu
α \alpha β \beta γ \gamma δ \delta ε \epsilon ζ \zeta η \eta θ \theta ι \iota κ \kappa λ \lambda μ \mu ν \nu ξ \xi
ο o π \pi ρ \rho ς \varsigma σ \sigma τ \tau υ \upsilon φ \phi χ \chi ψ \psi ω \omega
Γ \Gamma Δ \Delta Θ \Theta Λ \Lambda Ξ \Xi Π \Pi Σ \Sigma Υ \Upsilon Φ \Phi Ψ \Psi Ω \Omega
"""
_TEXT = r"""
\ \textbackslash{} & \& % \% $ \$ # \# _ \_\allowbreak{} { \{ } \} ~ \textasciitilde{} ^ \textasciicircum{}
– -- — --- … \ldots{} ‐ - ‑ - ‘ ` ’ ' “ `` ” '' „ \quotedblbase{} ‚ \quotesinglbase{}
« \guillemotleft{} » \guillemotright{} ‹ \guilsinglleft{} › \guilsinglright{}
° \textdegree{} € \texteuro{} £ \pounds{} § \S{} © \copyright{} ® \textregistered{} ™ \texttrademark{}
ß \ss{} æ \ae{} Æ \AE{} œ \oe{} Œ \OE{} ø \o{} Ø \O{} ł \l{} Ł \L{} đ \dj{} Đ \DJ{} ð \dh{} þ \th{} ı \i{}
"""
_SPACES = {"\u00a0": "~", "\u2009": r"\,", "\u202f": r"\,"}
_ACCENTS = dict(zip("\u0300\u0301\u0302\u0303\u0304\u0306\u0307\u0308\u030a\u030b\u030c", "`'^~=u.\"rHv", strict=True))
_ACCENTS |= {"\u0323": "d", "\u0327": "c", "\u0328": "k"}
_LIGATURES = "-<>,'"  # two of a kind become another sign


def _pairs(table: str) -> dict[str, str]:
    words = table.split()
    return dict(zip(words[::2], words[1::2], strict=True))


SIGNS = {sign: f"${name}$" for sign, name in _pairs(_MATH).items()} | _pairs(_TEXT) | _SPACES


def escaped(text: str) -> str:
    """Plain text; what stands between backticks is code, and stays what it is where it is copied."""
    parts = text.split("`")
    return "".join(rf"\texttt{{{_code(part)}}}" if number % 2 else _plain(part) for number, part in enumerate(parts))


def _code(text: str) -> str:
    return _plain(text).replace("'", r"\textquotesingle{}")


def _plain(text: str) -> str:
    found, before = [], ""
    for sign in unicodedata.normalize("NFC", text):
        found.append("{}" * (sign == before and sign in _LIGATURES) + _letter(sign))
        before = sign
    return "".join(found)


def _letter(sign: str) -> str:
    if sign in SIGNS:
        return SIGNS[sign]
    if sign.isascii() and (sign.isprintable() or sign.isspace()):
        return sign
    parts = unicodedata.normalize("NFD", sign)
    base, marks = parts[0], parts[1:]
    if marks and base.isascii() and all(mark in _ACCENTS for mark in marks):
        for mark in marks:
            base = rf"\{_ACCENTS[mark]}{{{base}}}"
        return base
    return rf"\texttt{{U+{ord(sign):04X}}}"
