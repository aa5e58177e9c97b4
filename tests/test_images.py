"""Cameras' images as tensors: against Pillow by itself, and against openpi's way of padding."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from headway.edge.policy.images import Fitting, fitted_intrinsics, place
from headway.errors import SpecMismatch
from headway.types import Frame

FILTERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "nearest": Image.Resampling.NEAREST,
    "area": Image.Resampling.BOX,
}
SIZES = [
    ((48, 64), (24, 32)), ((48, 64), (22, 22)), ((64, 48), (22, 22)), ((7, 5), (13, 31)),
    ((640, 480), (224, 224)), ((33, 97), (31, 29)), ((1, 1), (5, 4)), ((9, 7), (1, 1)),
    ((1, 90), (6, 6)), ((90, 1), (6, 6)), ((12, 12), (12, 12)),
]  # fmt: skip
rng = np.random.default_rng(5)


def frame(size, depth=True):
    rgb = rng.integers(0, 256, (*size, 3), np.uint8)
    return Frame(rgb, rng.integers(0, 2**16, size, np.uint16) if depth else None, np.eye(3))


def written(seen, shape=None, dtype="uint8", **how):
    """What `Fitting` writes into a buffer that held other numbers before."""
    height, width = how.pop("size")
    fitting = Fitting("wrist", height, width, **how)
    out = np.full(shape or fitting.shapes[0], 7, dtype)
    fitting.check(out.shape, dtype)
    fitting.write(seen, out)
    return out[0]


def padded(rgb, size, resample):
    """As openpi's `resize_with_pad`: the longer side fills the target, the bars are black."""
    (h, w), (H, W) = rgb.shape[:2], size
    ratio = max(w / W, h / H)
    inner = max(1, int(w / ratio)), max(1, int(h / ratio))
    out = np.zeros((*size, 3), np.uint8)
    top, left = int((H - inner[1]) / 2), int((W - inner[0]) / 2)
    small = np.asarray(Image.fromarray(rgb).resize(inner, resample))
    out[top : top + inner[1], left : left + inner[0]] = small
    return out


@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize(("source", "size"), SIZES)
def test_stretched_is_what_pillow_makes(source, size, name):
    seen = frame(source)
    wanted = np.asarray(Image.fromarray(seen.rgb).resize(size[::-1], FILTERS[name]))
    found = written(seen, size=size, fit="stretch", filter=name)
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize(("source", "size"), SIZES)
def test_padded_is_what_openpi_makes(source, size, name):
    seen = frame(source)
    found = written(seen, size=size, fit="pad", filter=name)
    np.testing.assert_array_equal(found, padded(seen.rgb, size, FILTERS[name]))


@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize(("source", "size"), SIZES)
def test_cropped_is_the_centre_resized(source, size, name):
    seen = frame(source)
    (h, w), (H, W) = source, size
    if w * H > h * W:
        wide = max(1, round(h * W / H))
        box = ((w - wide) // 2, 0, (w - wide) // 2 + wide, h)
    else:
        tall = max(1, round(w * H / W))
        box = (0, (h - tall) // 2, w, (h - tall) // 2 + tall)
    wanted = np.asarray(Image.fromarray(seen.rgb).crop(box).resize((W, H), FILTERS[name]))
    np.testing.assert_array_equal(written(seen, size=size, fit="crop", filter=name), wanted)


def test_a_crop_has_the_aspect_ratio_of_the_target_and_the_same_on_both_sides():
    spot = place((480, 640), (224, 224), "crop")
    assert (spot.top, spot.left, spot.crop) == (0, 80, (480, 480))
    spot = place((480, 640), (90, 160), "crop")
    assert (spot.top, spot.left, spot.crop) == (60, 0, (360, 640))


def test_what_was_in_the_buffer_before_is_gone():
    seen = frame((10, 20))
    first = written(seen, size=(8, 8), fit="pad")
    assert not first[:2].any()
    assert not first[6:].any()
    assert first[2:6].any()


@pytest.mark.parametrize("fit", ["exact", "stretch", "crop", "pad"])
@pytest.mark.parametrize("order", ["rgb", "bgr"])
@pytest.mark.parametrize("layout", ["hwc", "chw"])
@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64", "float16"])
def test_order_layout_and_numbers(fit, order, layout, dtype):
    size = (6, 8) if fit == "exact" else (5, 5)
    seen = frame((6, 8))
    floats = dtype != "uint8"
    how = {"scale": 1 / 255, "mean": (0.1, 0.2, 0.3), "std": (0.5, 1.0, 2.0)} if floats else {}
    found = written(
        seen, dtype=dtype, size=size, fit=fit, order=order, layout=layout, filter="area", **how
    )
    wanted = written(seen, size=size, fit=fit, filter="area").astype(np.float64)
    if order == "bgr":
        wanted = wanted[..., ::-1]
    if floats:
        wanted = (wanted / 255 - (0.1, 0.2, 0.3)) / (0.5, 1.0, 2.0)
    if layout == "chw":
        wanted = wanted.transpose(2, 0, 1)
    tolerance = {"uint8": 0, "float16": 4e-3}.get(dtype, 1e-6)
    np.testing.assert_allclose(found, wanted, atol=tolerance)


def test_the_right_size_is_the_image_itself_whatever_the_fit():
    seen = frame((5, 6))
    for fit in ("exact", "stretch", "crop", "pad"):
        np.testing.assert_array_equal(written(seen, size=(5, 6), fit=fit), seen.rgb)


def test_an_image_upside_down_or_of_every_second_pixel_is_read_as_it_is():
    whole = frame((20, 30))
    for rgb in (whole.rgb[::-1], whole.rgb[:, ::-1], whole.rgb[::2, ::2]):
        plain = Frame(np.ascontiguousarray(rgb), None, np.eye(3))
        for fit in ("stretch", "crop", "pad"):
            found = written(Frame(rgb, None, np.eye(3)), size=(7, 7), fit=fit)
            np.testing.assert_array_equal(found, written(plain, size=(7, 7), fit=fit))


def test_a_step_of_a_history_is_a_buffer():
    seen = frame((4, 4))
    history = np.zeros((1, 3, 4, 4, 3), np.uint8)
    Fitting("wrist", 4, 4).write(seen, history[:, 1])
    np.testing.assert_array_equal(history[0, 1], seen.rgb)
    assert not history[0, ::2].any()


@pytest.mark.parametrize("fit", ["stretch", "crop", "pad"])
@pytest.mark.parametrize(("source", "size"), SIZES)
def test_depth_takes_the_nearest_pixel_as_pillow_does(source, size, fit):
    seen = frame(source)
    spot = place(source, size, fit)
    (top, left), (tall, wide) = (spot.top, spot.left), spot.crop
    part = Image.fromarray(seen.depth.astype(np.int32)[top : top + tall, left : left + wide])
    small = np.asarray(part.resize(spot.size[::-1], Image.Resampling.NEAREST))
    wanted = np.zeros(size, np.int64)
    wanted[spot.at[0] :, spot.at[1] :][: spot.size[0], : spot.size[1]] = small
    found = written(seen, dtype="uint16", kind="depth", size=size, fit=fit)
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("source", [479, 480, 481, 640, 1280, 97, 3, 1])
@pytest.mark.parametrize("size", [224, 96, 7, 1, 518])
def test_every_nearest_pixel_is_pillows(source, size):
    seen = Frame(np.zeros((1, source, 3), np.uint8), np.arange(source, dtype=np.uint16)[None], [])
    image = Image.fromarray(seen.depth.astype(np.int32))
    wanted = np.asarray(image.resize((size, 1), Image.Resampling.NEAREST))
    found = written(seen, dtype="uint16", kind="depth", size=(1, size), fit="stretch")
    np.testing.assert_array_equal(found, wanted)


def test_depth_in_its_shapes_and_units():
    seen = frame((4, 6))
    mm = seen.depth
    how = {"kind": "depth", "size": (4, 6)}
    np.testing.assert_array_equal(written(seen, dtype="uint16", **how), mm)
    np.testing.assert_array_equal(written(seen, (1, 4, 6, 1), "uint16", **how)[..., 0], mm)
    np.testing.assert_array_equal(written(seen, (1, 1, 4, 6), "uint16", layout="chw", **how)[0], mm)
    np.testing.assert_array_equal(written(seen, dtype="float32", **how), mm)
    metres = written(seen, dtype="float32", scale=0.001, **how)
    np.testing.assert_allclose(metres, mm / 1000, rtol=1e-6)
    found = written(seen, dtype="float32", scale=0.001, mean=(0.5,), std=(0.25,), **how)
    np.testing.assert_allclose(found, (mm / 1000 - 0.5) / 0.25, atol=1e-4)
    pair = written(seen, (1, 4, 6, 2), "uint8", **how)
    np.testing.assert_array_equal(pair[..., 0] + 256 * pair[..., 1].astype(int), mm)


def test_a_width_of_two_is_no_pair_of_bytes():
    seen = frame((4, 2))
    how = {"dtype": "uint16", "kind": "depth", "size": (4, 2)}
    np.testing.assert_array_equal(written(seen, **how), seen.depth)
    found = written(seen, (1, 1, 4, 2), layout="chw", **how)[0]
    np.testing.assert_array_equal(found, seen.depth)
    with pytest.raises(ValueError, match="found uint8"):
        Fitting("wrist", 4, 2, kind="depth", layout="chw").check((1, 1, 4, 2), "uint8")


def test_an_image_that_does_not_fit_is_refused():
    out = np.zeros((1, 4, 6, 3), np.uint8)
    with pytest.raises(SpecMismatch, match="6x4 from camera wrist, found 8x5: set the camera's"):
        Fitting("wrist", 4, 6).write(frame((5, 8)), out)
    with pytest.raises(SpecMismatch, match="depth from camera wrist, which gives none"):
        Fitting("wrist", 4, 6, kind="depth").write(frame((4, 6), depth=False), out)


@pytest.mark.parametrize(
    ("how", "shape", "dtype", "says"),
    [
        ({}, (1, 3, 4, 6), "uint8", r"uint8 or floats \(1, 4, 6, 3\), found uint8 \(1, 3, 4, 6\)"),
        ({"layout": "chw"}, (1, 4, 6, 3), "uint8", r"floats \(1, 3, 4, 6\), found"),
        ({}, (1, 4, 6, 3), "int64", "found int64"),
        ({}, (1, 4, 6, 3), "uint16", "found uint16"),
        ({"scale": 1 / 255}, (1, 4, 6, 3), "uint8", "scale, mean and std want a tensor of floats"),
        ({"kind": "depth"}, (1, 4, 6), "uint8", "uint8 for the last, found uint8"),
        ({"kind": "depth"}, (1, 4, 6, 2), "uint16", "found uint16"),
        ({"kind": "depth"}, (1, 4, 6, 2), "float32", "found float32"),
        ({"kind": "depth", "scale": 0.001}, (1, 4, 6), "uint16", "tensor of floats, found uint16"),
        ({"kind": "depth", "layout": "chw"}, (1, 4, 6, 2), "uint8", "wanted uint16 or floats"),
    ],
)
def test_a_tensor_that_cannot_hold_the_images_is_refused(how, shape, dtype, says):
    with pytest.raises(ValueError, match=says):
        Fitting("wrist", 4, 6, **how).check(shape, dtype)


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"height": 0}, "at least 1 x 1 pixels, found 6 x 0"),
        ({"fit": "squash"}, "fit: wanted exact, stretch, crop, pad, found 'squash'"),
        ({"filter": "bicubic"}, "filter: wanted bilinear, nearest, area"),
        ({"mean": (0.0, 1.0)}, "mean: wanted 1 value or 3, found 2"),
        ({"kind": "depth", "std": (1.0, 1.0, 1.0)}, "std: wanted 1 value, found 3"),
        ({"std": (0.0,)}, "std > 0"),
        ({"scale": float("nan")}, "finite numbers"),
    ],
)
def test_values_that_do_not_go_together_are_refused(how, says):
    with pytest.raises(ValueError, match=says):
        Fitting(**{"camera": "wrist", "height": 4, "width": 6, **how})


@pytest.mark.parametrize("fit", ["exact", "stretch", "crop", "pad"])
@pytest.mark.parametrize("size", [(48, 64), (24, 24), (30, 90), (96, 50)])
def test_the_intrinsics_say_where_a_bright_spot_comes_to(fit, size):
    source = (48, 64)
    fitting = Fitting("wrist", *(source if fit == "exact" else size), fit=fit, filter="area")
    K = np.array([[60.0, 0, 32], [0, 55.0, 24], [0, 0, 1]])
    new = fitted_intrinsics(K, source, fitting)
    ray = np.array([0.1, -0.12, 1.0])
    u, v, _ = K @ ray
    rgb = np.zeros((*source, 3), np.uint8)
    rgb[int(v) - 1 : int(v) + 3, int(u) - 1 : int(u) + 3] = 255  # about (int(u) + 1, int(v) + 1)
    out = np.zeros(fitting.shapes[0], np.uint8)
    fitting.write(Frame(rgb, None, K), out)
    light = out[0, ..., 0].astype(float)
    rows, columns = (np.arange(n) + 0.5 for n in light.shape)
    found = light.sum(0) @ columns / light.sum(), light.sum(1) @ rows / light.sum()
    centre = np.linalg.inv(K) @ (int(u) + 1, int(v) + 1, 1)
    np.testing.assert_allclose((new @ centre)[:2], found, atol=0.3)


def test_intrinsics_of_a_known_case():
    K = np.array([[600.0, 0, 320], [0, 600.0, 240], [0, 0, 1]])
    pad = fitted_intrinsics(K, (480, 640), Fitting("wrist", 224, 224, fit="pad"))
    np.testing.assert_allclose(pad, [[210, 0, 112], [0, 210, 112], [0, 0, 1]])
    crop = fitted_intrinsics(K, (480, 640), Fitting("wrist", 240, 240, fit="crop"))
    np.testing.assert_allclose(crop, [[300, 0, 120], [0, 300, 120], [0, 0, 1]])
