"""A page for people's eyes: what was shown, how it was answered, and where the year stands.

The season wheel shows ground truth. A picture is no observation: nothing of it goes to an agent.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw

    from perennial.envs.world import Response, World

WIDTH, HEIGHT, FINE = 960, 540, 2
"""Of the picture in pixels; it is drawn `FINE` times as large and shrunk."""

RINGS = 6
"""Categories in the wheel: those whose season swings most."""

OUTCOMES = ("", "not interested", "clicked", "in the cart", "bought")
MARKS = (" ", "x", "*", "+", "$")
# Okabe & Ito (2008), "Color universal design", told apart with any colour vision; outcomes also by their words.
COLOURS = ("#f3f3f3", "#999999", "#56B4E9", "#E69F00", "#009E73")
ANSI = ("90", "90", "36", "33", "32")
INK, PALE = "#222222", "#8a8a8a"

Year = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Scene:
    """One served page. ``slots``: (item, category's name, price, outcome in 0..4) of each slot, from the top.

    ``clicks``: of the visit so far, this page included. ``end``: how the visit ended with this page, "" if it goes on.
    ``day``: share of the year that has passed. ``wheel``: names of `RINGS` categories; ``year`` 52 weeks of each, in
    [0, 1] between its low and its high season.
    """

    date: str
    hour: int
    user: int
    page: int
    slots: tuple[tuple[int, str, float, int], ...]
    reward: float
    clicks: int
    end: str
    day: float
    wheel: tuple[str, ...]
    year: Year


@lru_cache(maxsize=1)
def season_wheel(world: World, year: int) -> tuple[tuple[str, ...], Year]:
    """The categories that swing most in `year` (from the epoch, 365 days each), and their weeks."""
    ticks = 24 * (365 * year + 7 * np.arange(52)) + 12
    path = world.conditions(ticks)
    need = (path.need + path.purchase).mean(axis=1)
    swing = np.ptp(need, axis=0)
    chosen = np.argsort(-swing, kind="stable")[:RINGS]
    scaled = (need - need.min(axis=0)) / np.maximum(swing, 1e-9)
    names = tuple(world.preset.categories[c] for c in chosen)
    return names, tuple(tuple(float(v) for v in scaled[:, c]) for c in chosen)


def waiting_scene(world: World, keys: dict[str, int], shown: int) -> Scene:
    """The page with these `keys` before anything is served; `shown`: the tick whose calendar holds."""
    day = shown // 24
    wheel, year = season_wheel(world, day // 365)
    return Scene(
        date=world.date_of(day).isoformat(),
        hour=shown % 24,
        user=keys["user_id"],
        page=keys["page"],
        slots=(),
        reward=0.0,
        clicks=0,
        end="",
        day=(day % 365.25) / 365.25,
        wheel=wheel,
        year=year,
    )


def scene_of(
    world: World, keys: dict[str, int], shown: int, items: NDArray[Any], result: Response, clicks: int
) -> Scene:
    """The page with these `keys` and `items` (K,), answered by line 0 of `result`."""
    goods, names = world.catalogue, world.preset.categories
    outcome = np.where(result.not_interested[0], 1, 0)
    for level, part in ((2, result.clicked[0]), (3, result.carted[0]), (4, result.purchased[0])):
        outcome = np.where(part, level, outcome)
    left = "satisfied, or gone" if result.purchased[0].any() else "the visitor left"
    return replace(
        waiting_scene(world, keys, shown),
        slots=tuple(
            (int(i), names[goods.category[i]], float(goods.price[i]), int(o))
            for i, o in zip(items, outcome, strict=True)
        ),
        reward=float(result.reward[0]),
        clicks=clicks,
        end=left if result.terminated[0] else "page limit" if result.truncated[0] else "",
    )


def scene_text(scene: Scene) -> str:
    """The scene in at most 80 columns, coloured by ANSI escapes."""
    lines = [f"{scene.date} {scene.hour:02d}:00   visitor {scene.user}   page {scene.page + 1}"]
    for slot, (item, category, price, outcome) in enumerate(scene.slots, 1):
        text = f"{MARKS[outcome]} {slot:3d}. {category[:22]:22s} item {item:<7d} {price:10.2f}  {OUTCOMES[outcome]}"
        lines.append(f"\033[{ANSI[outcome]}m{text}\033[0m")
    lines.append(
        f"reward {scene.reward:g}, {scene.clicks} clicks in this visit" + (f"; {scene.end}" if scene.end else "")
    )
    for name, weeks in zip(scene.wheel, scene.year, strict=True):
        bars = "".join(" .:-=+*#"[min(int(8 * level), 7)] for level in weeks)
        lines.append(f"{name[:22]:22s} |{bars}|")
    place = int(52 * scene.day)
    lines.append(" " * (24 + place) + "^ today")
    return "\n".join(lines) + "\n"


def scene_image(scene: Scene) -> NDArray[np.uint8]:
    """uint8 (540, 960, 3): the scene as a picture; needs Pillow."""
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (FINE * WIDTH, FINE * HEIGHT), "white")
    draw = ImageDraw.Draw(image)
    _draw_page(draw, scene)
    _draw_wheel(draw, scene)
    return np.asarray(image.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)).copy()


def _text(draw: ImageDraw, x: float, y: float, text: str, size: int, colour: str = INK, anchor: str = "lm") -> None:
    from PIL import ImageFont

    draw.text((FINE * x, FINE * y), text, colour, ImageFont.load_default(FINE * size), anchor)


def _draw_page(draw: ImageDraw, scene: Scene) -> None:
    _text(draw, 28, 34, f"{scene.date}, {scene.hour:02d}:00", 20)
    _text(draw, 28, 60, f"visitor {scene.user}, page {scene.page + 1}", 14, PALE)
    height = min(40.0, (HEIGHT - 150) / max(len(scene.slots), 1))
    for slot, (item, category, price, outcome) in enumerate(scene.slots):
        top = 84 + slot * height
        box = [FINE * v for v in (28, top, 560, top + height - 4)]
        draw.rounded_rectangle(box, FINE * 5, "#f3f3f3", None)
        draw.rounded_rectangle(
            [*box[:2], box[0] + FINE * 8, box[3]], FINE * 4, COLOURS[outcome] if outcome else "#dddddd"
        )
        middle = top + height / 2 - 2
        _text(draw, 48, middle, f"{slot + 1}", 13, PALE)
        _text(draw, 76, middle, category.replace("_", " "), 15)
        _text(draw, 330, middle, f"{price:,.2f}", 13, PALE, "rm")
        _text(draw, 346, middle, f"item {item}", 12, PALE)
        if outcome:
            _text(draw, 548, middle, OUTCOMES[outcome], 14, "#666666" if outcome == 1 else COLOURS[outcome], "rm")
    foot = f"reward {scene.reward:g}, {scene.clicks} clicks in this visit" + (f": {scene.end}" if scene.end else "")
    _text(draw, 28, HEIGHT - 34, foot, 15)


def _draw_wheel(draw: ImageDraw, scene: Scene) -> None:
    """Rings of the year, January at the top, clockwise; the darker, the higher the season. The hand is today."""
    x, y, inner, step = 760.0, 222.0, 46.0, 20.0
    for ring, weeks in enumerate(scene.year):
        outer = inner + step * (len(scene.year) - ring)
        box = [FINE * v for v in (x - outer, y - outer, x + outer, y + outer)]
        for week, level in enumerate(weeks):
            draw.pieslice(box, 360 / 52 * week - 90, 360 / 52 * (week + 1) - 90, _shade(level))
        draw.ellipse(box, None, "white", FINE)
    draw.ellipse([FINE * v for v in (x - inner, y - inner, x + inner, y + inner)], "white")
    for month, name in enumerate(("Jan", "Apr", "Jul", "Oct")):
        angle = month * np.pi / 2
        far = inner + step * len(scene.year) + 16
        _text(draw, x + far * np.sin(angle), y - far * np.cos(angle), name, 12, PALE, "mm")
    angle, far = 2 * np.pi * scene.day, inner + step * len(scene.year) + 6
    tip = (FINE * (x + far * np.sin(angle)), FINE * (y - far * np.cos(angle)))
    draw.line([(FINE * x, FINE * y), tip], "#D55E00", FINE * 3)
    draw.ellipse([FINE * v for v in (x - 5, y - 5, x + 5, y + 5)], "#D55E00")
    _text(draw, 612, 426, "season, from the outer ring in", 12, PALE)
    for ring, name in enumerate(scene.wheel):
        _text(draw, 612 + 170 * (ring // 3), 448 + 20 * (ring % 3), f"{ring + 1}  {name.replace('_', ' ')}", 13)


def _shade(level: float) -> tuple[int, int, int]:
    """White to deep blue, evenly in lightness."""
    low, high = np.array([244, 247, 250]), np.array([8, 48, 107])
    red, green, blue = (low + (high - low) * level).astype(int).tolist()
    return red, green, blue
