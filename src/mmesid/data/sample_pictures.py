"""Pictures of the drawn catalogue: a shape in a colour and a pattern before a plain wall, as PNG."""

import colorsys
import io
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

SUPERSAMPLING = 3  # pictures are drawn this much larger and averaged down, which smooths edges
WALLS = ((244, 240, 232), (232, 238, 242), (240, 232, 236), (234, 240, 230))


class Piece(NamedTuple):
    """A part of a silhouette in a unit square, y downwards; `ink` False cuts it out."""

    kind: str  # ellipse | rectangle | polygon | ring
    points: tuple[float, ...]
    ink: bool = True


SHAPES: dict[str, tuple[Piece, ...]] = {
    "mug": (Piece("ring", (0.52, 0.36, 0.88, 0.68)), Piece("rectangle", (0.2, 0.25, 0.68, 0.82))),
    "bowl": (
        Piece("ellipse", (0.1, 0.1, 0.9, 0.78)),
        Piece("rectangle", (0.0, 0.0, 1.0, 0.42), ink=False),
        Piece("rectangle", (0.36, 0.74, 0.64, 0.83)),
    ),
    "vase": (
        Piece("polygon", (0.36, 0.1, 0.64, 0.1, 0.56, 0.3, 0.62, 0.5, 0.38, 0.5, 0.44, 0.3)),
        Piece("ellipse", (0.26, 0.36, 0.74, 0.86)),
    ),
    "lamp": (
        Piece("polygon", (0.36, 0.12, 0.64, 0.12, 0.84, 0.5, 0.16, 0.5)),
        Piece("rectangle", (0.47, 0.5, 0.53, 0.78)),
        Piece("rectangle", (0.32, 0.77, 0.68, 0.84)),
    ),
    "clock": (
        Piece("ellipse", (0.14, 0.14, 0.86, 0.86)),
        Piece("rectangle", (0.47, 0.26, 0.53, 0.54), ink=False),
        Piece("rectangle", (0.47, 0.48, 0.7, 0.54), ink=False),
    ),
    "teapot": (
        Piece("ring", (0.6, 0.34, 0.94, 0.7)),
        Piece("polygon", (0.3, 0.5, 0.04, 0.3, 0.1, 0.26, 0.4, 0.66)),
        Piece("ellipse", (0.22, 0.3, 0.78, 0.82)),
        Piece("ellipse", (0.44, 0.2, 0.56, 0.32)),
    ),
    "stool": (
        Piece("rectangle", (0.16, 0.36, 0.84, 0.5)),
        Piece("polygon", (0.24, 0.5, 0.34, 0.5, 0.26, 0.86, 0.17, 0.86)),
        Piece("polygon", (0.66, 0.5, 0.76, 0.5, 0.83, 0.86, 0.74, 0.86)),
    ),
    "jar": (Piece("rectangle", (0.24, 0.32, 0.76, 0.86)), Piece("rectangle", (0.3, 0.16, 0.7, 0.27))),
}


def _plain(across: np.ndarray, down: np.ndarray) -> np.ndarray:
    return np.zeros(np.broadcast_shapes(across.shape, down.shape), dtype=bool)


def _stripes(across: np.ndarray, down: np.ndarray) -> np.ndarray:
    return (across % 0.18 < 0.07) & (down >= 0)


def _bands(across: np.ndarray, down: np.ndarray) -> np.ndarray:
    return (down % 0.18 < 0.07) & (across >= 0)


def _dots(across: np.ndarray, down: np.ndarray) -> np.ndarray:
    return (across % 0.18 - 0.09) ** 2 + (down % 0.18 - 0.09) ** 2 < 0.05**2


def _checks(across: np.ndarray, down: np.ndarray) -> np.ndarray:
    return (across % 0.24 < 0.12) ^ (down % 0.24 < 0.12)


# Which points of the unit square take the second colour: (1, side) and (side, 1) coordinates -> (side, side) mask.
PATTERNS = {"plain": _plain, "stripes": _stripes, "bands": _bands, "dots": _dots, "checks": _checks}


def draw_picture(shape: str, shade: str, pattern: str, side: int, rng: np.random.Generator) -> bytes:
    """A picture of one item.

    Args:
        shape: a name in SHAPES.
        shade: main colour, `#rrggbb`.
        pattern: a name in PATTERNS, painted in a pale second colour.
        side: width and height in pixels.
        rng: draws what carries no meaning: size, place, wall, offset of the pattern.

    Returns:
        The bytes of a PNG file.
    """
    large = side * SUPERSAMPLING
    wall = np.array(WALLS[rng.integers(len(WALLS))], dtype=np.float64)
    light = wall - np.linspace(0, 24, large)[:, None, None]  # (large, 1, 3), darker towards the floor
    main = np.array([int(shade[start : start + 2], 16) for start in (1, 3, 5)], dtype=np.float64)
    grid = np.arange(large) / large
    second = PATTERNS[pattern]((grid + rng.random())[None, :], (grid + rng.random())[:, None])[:, :, None]
    paint = np.where(second, _pale(main), main) * np.linspace(1.06, 0.88, large)[None, :, None]
    inside = _silhouette(SHAPES[shape], large, rng)[:, :, None]
    canvas = np.where(inside, paint, np.broadcast_to(light, paint.shape)).clip(0, 255)
    blocks = canvas.reshape(side, SUPERSAMPLING, side, SUPERSAMPLING, 3).mean(axis=(1, 3))
    buffer = io.BytesIO()
    Image.fromarray(blocks.round().astype(np.uint8)).save(buffer, format="PNG")
    return buffer.getvalue()


def _pale(colour: np.ndarray) -> np.ndarray:
    """A light tint of the same hue."""
    hue, _, saturation = colorsys.rgb_to_hls(*(colour / 255))
    return np.array(colorsys.hls_to_rgb(hue, 0.88, saturation)) * 255


def _silhouette(pieces: tuple[Piece, ...], large: int, rng: np.random.Generator) -> np.ndarray:
    """(large, large) bool: where the item is."""
    scale = large * rng.uniform(0.84, 1.0)
    left, top = rng.uniform(0, large - scale, size=2)
    mask = Image.new("1", (large, large))
    pen = ImageDraw.Draw(mask)
    for piece in pieces:
        points = [float(value * scale + (left, top)[axis % 2]) for axis, value in enumerate(piece.points)]
        if piece.kind == "ring":
            pen.ellipse(points, outline=1, width=round(0.07 * scale))
        else:
            getattr(pen, piece.kind)(points, fill=int(piece.ink))
    return np.asarray(mask)
