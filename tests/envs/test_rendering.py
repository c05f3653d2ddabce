"""What a person sees of a page: the same for the same page, every outcome named, and the world unchanged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from perennial.envs.rendering import HEIGHT, OUTCOMES, WIDTH, Scene, scene_image, scene_text
from perennial.envs.shop import ShopEnv

SMALL: dict[str, Any] = {"n_users": 300, "n_items": 200}


def scene() -> Scene:
    slots = tuple((n, f"category_{n}", 1.5 * n, n % len(OUTCOMES)) for n in range(10))
    year = tuple(tuple((week + ring) % 52 / 51 for week in range(52)) for ring in range(6))
    return Scene("2010-09-02", 8, 12, 0, slots, 4.0, 4, "the visitor left", 0.67, tuple("abcdef"), year)


def test_the_text_names_every_outcome_and_stays_narrow() -> None:
    text = scene_text(scene())
    assert all(outcome in text for outcome in OUTCOMES)
    assert "the visitor left" in text
    plain = text.replace("\033[0m", "")
    assert max(len(line.split("m", 1)[-1] if line.startswith("\033") else line) for line in plain.split("\n")) <= 80


def test_the_picture_is_the_same_for_the_same_page_and_differs_with_the_day() -> None:
    one, two, other = (scene_image(s) for s in (scene(), scene(), replace(scene(), day=0.1)))
    assert one.shape == (HEIGHT, WIDTH, 3)
    assert one.dtype == np.uint8
    assert np.array_equal(one, two)
    assert not np.array_equal(one, other)


@pytest.mark.parametrize("episode", ["visit", "horizon"])
def test_rendering_changes_nothing(episode: str) -> None:
    seen, blind = (ShopEnv(render_mode=mode, episode=episode, **SMALL) for mode in ("ansi", None))
    seen.reset(seed=1)
    blind.reset(seed=1)
    clicks = 0.0
    for _ in range(30):
        one, two = (env.step(np.arange(10)) for env in (seen, blind))
        assert one[1:] == two[1:]
        assert all(np.array_equal(one[0][name], two[0][name]) for name in one[0])
        text = seen.render()
        assert f"reward {one[1]:g}," in text
        assert text.count("clicked") + text.count("in the cart") + text.count("bought") == one[1]
        clicks += one[1]
        if one[2] or one[3]:
            assert "; " in text.split("reward")[1].split("\n")[0] or episode == "horizon"
            seen.reset()
            blind.reset()
    assert clicks > 0
    assert blind.render() is None


def test_a_page_can_be_looked_at_before_it_is_served() -> None:
    env = ShopEnv(render_mode="rgb_array", **SMALL)
    with pytest.raises(RuntimeError, match=r"Call reset\(\) before render\(\)"):
        env.render()
    env.reset(seed=0)
    waiting = env.render()
    env.step(np.arange(10))
    assert not np.array_equal(waiting, env.render())


def test_a_video_of_steps(tmp_path: Path) -> None:
    moviepy = pytest.importorskip("moviepy", reason="Gymnasium's RecordVideo needs moviepy: install the extra 'dev'")
    env = gym.make("perennial/Shop-v0", render_mode="rgb_array", episode="horizon", **SMALL)
    video = gym.wrappers.RecordVideo(env, str(tmp_path / "video"), video_length=3, step_trigger=lambda step: step == 0)
    video.reset(seed=0)
    shown = []
    for _ in range(4):
        video.step(np.arange(10))
        shown.append(env.render())
    video.close()
    (written,) = (tmp_path / "video").glob("*.mp4")
    with moviepy.VideoFileClip(str(written)) as clip:
        frames = list(clip.iter_frames())
    assert len(frames) in (3, 4)  # Gymnasium ends a video with the frame that makes it too long
    assert all(frame.shape == (HEIGHT, WIDTH, 3) for frame in frames)
    for frame, page in zip(frames, shown, strict=False):  # the codec loses a little
        assert np.abs(frame.astype(float) - page).mean() < 3
