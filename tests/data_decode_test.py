"""Encoded images: pixels against Pillow, every conversion counted, every kind of damage named."""

import io
import pickle
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageFile

from mollax.data import decode
from mollax.data.dataset import LazyImages, ReadOptions
from mollax.data.decode import BadImageError, decode_image, decode_splits, probe_image

PLAIN = ReadOptions()


def encoded(image, kind="PNG", **options):
    file = io.BytesIO()
    (Image.fromarray(image) if isinstance(image, np.ndarray) else image).save(file, kind, **options)
    return file.getvalue()


def raw_png(width, height, depth, color, rows, *, after=b""):
    """A PNG written by hand: what Pillow itself does not write."""

    def chunk(tag, body):
        return struct.pack(">I", len(body)) + tag + body + struct.pack(">I", zlib.crc32(tag + body))

    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), after, chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def oriented(image, orientation, kind="JPEG", **options):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(image, kind, exif=exif, **options)


@pytest.fixture
def rgb(rng):
    return rng.integers(0, 256, (10, 14, 3), dtype=np.uint8)


@pytest.fixture
def gray(rng):
    return rng.integers(0, 256, (10, 14), dtype=np.uint8)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "PPM", "TIFF"])
def test_lossless_formats_keep_every_pixel(kind, rgb, gray):
    image, kinds = decode_image(encoded(rgb, kind), "a", PLAIN)
    np.testing.assert_array_equal(image, rgb)
    assert kinds == ()
    image, kinds = decode_image(encoded(gray, kind), "a", PLAIN)
    np.testing.assert_array_equal(image, gray[..., None])
    assert image.dtype == np.uint8
    assert kinds == ()


def test_lossy_formats_are_what_pillow_decodes(rgb):
    for kind in ("JPEG", "WEBP"):
        data = encoded(rgb, kind)
        expected = np.asarray(Image.open(io.BytesIO(data)))
        np.testing.assert_array_equal(decode_image(data, "a", PLAIN)[0], expected)


def test_gray_is_repeated_and_color_reduced(rgb, gray):
    image, kinds = decode_image(encoded(gray), "a", ReadOptions(channels=3))
    np.testing.assert_array_equal(image, np.stack([gray] * 3, -1))
    assert kinds == ("gray images repeated to RGB",)
    image, kinds = decode_image(encoded(rgb), "a", ReadOptions(channels=1))
    luminance = rgb @ np.array([0.299, 0.587, 0.114])
    assert np.abs(image[..., 0] - luminance).max() <= 0.51
    assert kinds == ("color images reduced to gray (luminance)",)
    assert decode_image(encoded(rgb), "a", ReadOptions(channels=3))[1] == ()
    assert decode_image(encoded(gray), "a", ReadOptions(channels=1))[1] == ()


def test_resize_stretch_is_pillow_bilinear(rgb):
    image, kinds = decode_image(encoded(rgb), "a", ReadOptions(image_size=6))
    expected = np.asarray(Image.fromarray(rgb).resize((6, 6), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(image, expected)
    assert kinds == ("images resized to 6x6 (stretch)",)


def test_shrinking_averages_over_the_footprint():
    stripes = np.zeros((32, 32), np.uint8)
    stripes[:, ::2] = 255  # plain bilinear sampling would give 0 or 255 everywhere
    image, _ = decode_image(encoded(stripes), "a", ReadOptions(image_size=4))
    assert np.abs(image.astype(int) - 128).max() < 12


def test_crop_keeps_the_centered_square():
    wide = np.zeros((8, 20), np.uint8)
    wide[:, 6:14] = 200
    image, kinds = decode_image(encoded(wide), "a", ReadOptions(image_size=8, resize="crop"))
    np.testing.assert_array_equal(image, np.full((8, 8, 1), 200))
    assert kinds == ("images resized to 8x8 (crop)",)
    stretched, _ = decode_image(encoded(wide), "a", ReadOptions(image_size=8))
    assert stretched.min() < 50


# What the viewer sees for a stored image, by orientation tag (EXIF 2.32, tag 0x0112).
UPRIGHT = {
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: np.swapaxes(a, 0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(np.swapaxes(a, 0, 1), 2),
    8: lambda a: np.rot90(a, 1),
}


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize("tag", UPRIGHT)
def test_exif_orientation_is_applied_and_counted(tag, kind, rgb):
    data = oriented(rgb, tag, kind)
    image, kinds = decode_image(data, "a", PLAIN)
    np.testing.assert_array_equal(image, UPRIGHT[tag](rgb))
    assert kinds == ("images turned upright by an EXIF orientation tag",)
    assert probe_image(io.BytesIO(data), "a", PLAIN) == (image.shape, kinds)


def test_exif_orientation_of_jpeg(rgb):
    data = oriented(rgb, 6)
    stored = np.asarray(Image.open(io.BytesIO(data)))
    np.testing.assert_array_equal(decode_image(data, "a", PLAIN)[0], np.rot90(stored, -1))
    for tag in (0, 1, 9):
        image, kinds = decode_image(oriented(rgb, tag), "a", PLAIN)
        assert image.shape == rgb.shape
        assert kinds == ()


def test_orientation_after_the_pixels_of_a_png():
    exif = Image.Exif()
    exif[0x0112] = 6
    body = b"eXIf" + exif.tobytes().removeprefix(b"Exif\x00\x00")
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    data = raw_png(3, 1, 8, 0, b"\x00\x01\x02\x03", after=chunk)
    image, kinds = decode_image(data, "a", PLAIN)
    np.testing.assert_array_equal(image[..., 0], [[1], [2], [3]])
    assert kinds == (decode.UPRIGHT,)
    assert probe_image(io.BytesIO(data), "a", PLAIN) == ((1, 3, 1), ())  # the header alone cannot tell


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_unreadable_exif_is_counted(kind, rgb):
    data = encoded(rgb, kind, exif=b"Exif\x00\x00nonsense")
    image, kinds = decode_image(data, "a", PLAIN)
    assert image.shape == rgb.shape
    assert kinds == ("images with unreadable EXIF data left as stored",)


def test_palette_cmyk_and_one_bit(rgb, gray):
    palette = Image.fromarray(rgb).quantize(16)
    image, kinds = decode_image(encoded(palette), "a", PLAIN)
    np.testing.assert_array_equal(image, np.asarray(palette.convert("RGB")))
    assert kinds == ("palette images expanded to RGB",)
    cmyk = Image.fromarray(rgb).convert("CMYK")
    image, kinds = decode_image(encoded(cmyk, "TIFF"), "a", PLAIN)
    np.testing.assert_array_equal(image, rgb)
    assert kinds == ("CMYK images converted to RGB",)
    image, kinds = decode_image(encoded(Image.fromarray(gray > 127)), "a", PLAIN)
    np.testing.assert_array_equal(image[..., 0], np.where(gray > 127, 255, 0))
    assert kinds == ("1-bit images widened to 8 bits",)


def test_sixteen_bits_become_the_high_byte():
    deep = np.array([[0, 255, 256], [40000, 65279, 65535]], np.uint16)
    expected = np.array([[0, 0, 1], [156, 254, 255]], np.uint8)
    for data in (encoded(deep), encoded(deep, "TIFF"), b"P5 3 2 65535\n" + deep.astype(">u2").tobytes()):
        image, kinds = decode_image(data, "a", PLAIN)
        np.testing.assert_array_equal(image[..., 0], expected)
        assert kinds == ("16-bit images reduced to the high byte",)


def test_sixteen_bit_color_is_noticed():
    rows = b"".join(b"\x00" + row.astype(">u2").tobytes() for row in np.full((2, 6), 40000, np.uint16))
    image, kinds = decode_image(raw_png(2, 2, 16, 2, rows), "a", PLAIN)
    np.testing.assert_array_equal(image, np.full((2, 2, 3), 156))
    assert kinds == (decode.HIGH_BYTE,)
    _, kinds = decode_image(b"P6 1 1 65535\n" + b"\x9c\x40" * 3, "a", PLAIN)
    assert kinds == (decode.HIGH_BYTE,)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_alpha_is_refused_dropped_or_blended(mode, rng):
    color = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
    alpha = rng.integers(0, 256, (4, 4), dtype=np.uint8)
    image = Image.fromarray(np.dstack([color, alpha]))
    if mode == "LA":
        color = np.asarray(image.convert("L"))[..., None]
        image = Image.merge("LA", [image.convert("L"), Image.fromarray(alpha)])
    if mode == "P":  # one transparent color
        image = Image.fromarray(color).quantize(4)
        color = np.asarray(image.convert("RGB"))
        alpha = np.where(np.asarray(image) == 0, 0, 255)
    data = encoded(image, **({"transparency": 0} if mode == "P" else {}))
    with pytest.raises(ValueError, match=r"cat.png has an alpha channel .* alpha='drop' .* alpha='white'") as error:
        decode_image(data, "cat.png", PLAIN)
    assert not isinstance(error.value, BadImageError)  # skipping bad images must not hide it
    dropped, kinds = decode_image(data, "a", ReadOptions(alpha="drop"))
    np.testing.assert_array_equal(dropped, color)
    assert decode.ALPHA_DROPPED in kinds
    white, kinds = decode_image(data, "a", ReadOptions(alpha="white"))
    a = alpha[..., None] / 255
    assert np.abs(white - (a * color + (1 - a) * 255)).max() <= 0.51
    assert decode.ALPHA_WHITE in kinds
    assert (decode.PALETTE in kinds) == (mode == "P")


def test_many_conversions_at_once(gray):
    data = oriented(Image.fromarray(gray > 99), 6, "PNG")
    image, kinds = decode_image(data, "a", ReadOptions(image_size=5, channels=3))
    assert image.shape == (5, 5, 3)
    assert kinds == (decode.UPRIGHT, decode.BITS, decode.GRAY_TO_RGB, "images resized to 5x5 (stretch)")


def animation(kind):
    frames = [Image.new("RGB", (4, 4), (60 * i, 0, 0)) for i in range(3)]
    return encoded(frames[0], kind, save_all=True, append_images=frames[1:])


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_animations_are_refused(kind):
    with pytest.raises(BadImageError, match=r"a.x: an animation or stack of 3 frames, .*Save the frame"):
        decode_image(animation(kind), "a.x", PLAIN)


def test_multi_picture_jpeg_gives_its_first_picture():
    image, kinds = decode_image(animation("MPO"), "a", PLAIN)
    assert image.shape == (4, 4, 3)
    assert image.max() < 30
    assert kinds == ("multi-picture images read as the first picture",)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM"])
def test_truncation_is_never_padded(kind, rgb):
    data = encoded(rgb, kind)
    whole, _ = decode_image(data, "a", PLAIN)
    refused = []
    for length in range(0, len(data), 3):
        try:
            image, _ = decode_image(data[:length], "cut", PLAIN)
        except BadImageError as error:
            refused.append(error.where)
        else:  # all pixels were there: only trailing marks are missing
            np.testing.assert_array_equal(image, whole)
    assert set(refused) == {"cut"}
    assert len(refused) > 0.9 * len(data) / 3


BAD = {
    "empty": (b"", r"a.jpg: the file is empty. Replace or remove it, or set on_bad_image='skip'"),
    "text": (b"not an image", r"a.jpg: not a readable JPEG, PNG, .* image"),
    "eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 4\n", r"not a readable"),
    "no width": (raw_png(0, 4, 8, 0, b""), r"a.jpg: "),
    "bad filter": (raw_png(2, 2, 8, 0, b"\x09\x01\x02\x09\x01\x02"), r"a.jpg: truncated or damaged"),
    "bmp of zeros": (b"BM" + b"\x00" * 60, r"a.jpg: "),
    "float": (encoded(np.zeros((3, 3), np.float32), "TIFF"), r"floating-point pixels, .* Save it with 8"),
    "int32": (encoded(np.zeros((3, 3), np.int32), "TIFF"), r"32-bit integer pixels"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_images_are_named_with_reason_and_remedy(name):
    data, match = BAD[name]
    with pytest.raises(BadImageError, match=match):
        decode_image(data, "a.jpg", PLAIN)


@pytest.mark.parametrize("side", [9000 * 2, 9000 * 4])  # where Pillow warns, and where it refuses
def test_decompression_bombs_are_refused(side):
    with pytest.raises(BadImageError, match="suspiciously large"):
        decode_image(raw_png(side, 9000, 8, 0, b"\x00"), "bomb.png", PLAIN)


def test_large_images_are_refused_without_a_warning_too(monkeypatch, rgb):
    data = encoded(rgb)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    monkeypatch.setattr(Image, "_decompression_bomb_check", lambda size: None)
    with pytest.raises(BadImageError, match=r"suspiciously large \(10x14, over 100 pixels\)"):
        decode_image(data, "a", PLAIN)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert decode_image(data, "a", PLAIN)[0].shape == rgb.shape


def test_padding_by_pillow_is_refused(monkeypatch, rgb):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises(ValueError, match="LOAD_TRUNCATED_IMAGES is set"):
        decode_image(encoded(rgb), "a", PLAIN)


def test_bad_options(rgb):
    for options, match in (
        (ReadOptions(channels=4), "channels must be 1"),
        (ReadOptions(resize="pad"), "resize must be one of 'stretch', 'crop'"),
        (ReadOptions(alpha="black"), "alpha must be one of"),
        (ReadOptions(image_size=0), "image_size must be at least 1"),
    ):
        with pytest.raises(ValueError, match=match):
            decode_image(encoded(rgb), "a", options)


def test_bad_image_error_survives_pickling():
    error = pickle.loads(pickle.dumps(BadImageError("a.png", "is empty", "Do this.")))
    assert str(error) == "a.png: is empty. Do this."
    assert (error.where, error.reason) == ("a.png", "is empty")


def test_notes_are_sentences():
    notes = decode.count_kinds({decode.GRAY_TO_RGB: 1270, decode.UPRIGHT: 1})
    assert notes == (
        "1,270 gray images repeated to RGB",
        "1 image turned upright by an EXIF orientation tag",
    )


class Memory:
    """A source of encoded images that lie in memory."""

    def __init__(self, *data):
        self.data = data

    def open(self, key):
        if self.data[key] is None:
            raise PermissionError("no")
        return io.BytesIO(self.data[key])

    def where(self, key):
        return f"file{key}"


@pytest.fixture
def squares(rng):
    return rng.integers(0, 256, (200, 5, 5, 3), dtype=np.uint8)


@pytest.fixture
def source(squares):
    return Memory(*map(encoded, squares))


RECORDS = {"train": [(i, i % 2) for i in range(150)], "test": [(i, i % 2) for i in range(150, 200)]}


@pytest.fixture(params=["array", "lazy"])
def limit(request, monkeypatch):
    if request.param == "lazy":
        monkeypatch.setattr(decode, "MEMORY_LIMIT", 100)
    return request.param


def test_splits_in_order(limit, source, squares):
    splits, skipped, notes = decode_splits(source, RECORDS, PLAIN, "ab")
    assert (skipped, notes) == ((), ())
    for name, start, stop in (("train", 0, 150), ("test", 150, 200)):
        split = splits[name]
        assert isinstance(split.images, LazyImages) == (limit == "lazy")
        assert split.images.shape == (stop - start, 5, 5, 3)
        np.testing.assert_array_equal(np.stack([split.images[i] for i in range(len(split))]), squares[start:stop])
        np.testing.assert_array_equal(split.labels, np.arange(start, stop) % 2)
        assert split.labels.dtype == np.int32


def test_bad_images_are_skipped_and_listed(limit, squares):
    data = list(map(encoded, squares))
    data[3], data[160], data[161] = b"", None, animation("GIF")
    options = ReadOptions(on_bad_image="skip", channels=1)
    splits, skipped, notes = decode_splits(Memory(*data), RECORDS, options, "ab")
    assert [skip.where for skip in skipped] == ["file3", "file160", "file161"]
    assert "cannot be read (no)" in skipped[1].reason
    assert [len(splits["train"]), len(splits["test"])] == [149, 48]
    assert notes == ("197 color images reduced to gray (luminance)",)
    expected = decode_image(encoded(squares[4]), "a", options)[0]
    np.testing.assert_array_equal(splits["train"].images[3], expected)
    np.testing.assert_array_equal(splits["train"].labels[:5], [0, 1, 0, 0, 1])
    with pytest.raises(BadImageError, match="file3: the file is empty"):
        decode_splits(Memory(*data), RECORDS, PLAIN, "ab")


def test_shapes_must_agree(limit, squares, rgb):
    data = [*map(encoded, squares[:-1]), encoded(squares[-1][:, :4])]
    message = r"file0 is 5x5x3, file199 is 5x4x3. Set image_size=... and resize"
    with pytest.raises(ValueError, match=message):
        decode_splits(Memory(*data), RECORDS, PLAIN, "ab")
    splits, _, notes = decode_splits(Memory(*data), RECORDS, ReadOptions(image_size=5), "ab")
    assert splits["test"].images.shape == (50, 5, 5, 3)
    assert notes == ("1 image resized to 5x5 (stretch)",)
    data[-1] = encoded(squares[-1][..., 0])
    with pytest.raises(ValueError, match=r"file199 is 5x5x1. Set channels=1 or channels=3"):
        decode_splits(Memory(*data), RECORDS, PLAIN, "ab")
