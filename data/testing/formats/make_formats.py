"""Writes the small test images beside it, and index.json with what PIL makes of each: the SHA-256 of
Image.open(f).convert("RGB")'s pixels, or "error"; "grey", that of convert("L")'s; and where the file has another number
of channels, "channels" and, as "stored", that of those: PIL's pixels of mode LA or RGBA, or the samples themselves
where PIL opens no file of so many.

    python3 data/testing/formats/make_formats.py      # with numpy 2.4.6 and pillow 13.0.0
"""

import hashlib
import io
import json
import os
import struct
import zlib

import numpy as np
import PIL
from PIL import Image

HERE = os.path.dirname(os.path.abspath(__file__))
FILES = {}
STORED = {}  # name -> uint8 [height, width, channels] of files with neither 1 nor 3, unless PIL is to be asked.


def picture(height, width, channels, bits=8):
    """Slopes with noise: neighbours are alike, no two rows are."""
    random = np.random.default_rng(height * 1000 + width * 10 + channels)
    y, x = np.mgrid[0:height, 0:width]
    planes = [(x * (3 + c) + y * (5 - c) + random.integers(0, 20, (height, width))) % 256 for c in range(channels)]
    value = np.stack(planes, -1)
    if bits == 16:
        value = value * 257 % 65536
    return value.astype(np.uint16 if bits == 16 else np.uint8)


def add(name, image, format=None, **options):
    data = io.BytesIO()
    image.save(data, format or {"tif": "TIFF"}.get(name.split(".")[-1], name.split(".")[-1].upper()), **options)
    FILES[name] = data.getvalue()


def patched(data, at, new):
    return data[:at] + new + data[at + len(new):]


def bmp(name, bits, rows, compression=0, palette=b"", masks=b"", header=40, height=None, colours=0, data=None):
    width = 13
    height = height if height is not None else len(rows)
    body = data if data is not None else b"".join(row + bytes(-len(row) % 4) for row in rows)
    if header == 12:
        info = struct.pack("<IHHHH", 12, width, height, 1, bits)
    else:
        info = struct.pack("<IiiHHIIiiII", header, width, height, 1, bits, compression, len(body), 0, 0, colours, 0)
        extra = masks + bytes(header - 40 - len(masks)) if header > 40 else masks
        info += extra
    offset = 14 + len(info) + len(palette)
    FILES[name] = b"BM" + struct.pack("<IHHI", offset + len(body), 0, 0, offset) + info + palette + body


def png(name, colour_type, bits, values, interlaced=False):
    height, width, _ = values.shape
    data = values.astype(">u2" if bits == 16 else np.uint8)
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    lines = b""
    for top, left, down, right in passes if interlaced else [(0, 0, 1, 1)]:
        for row in data[top::down, left::right]:
            lines += b"\0" + row.tobytes() if row.size else b""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, int(interlaced))
    FILES[name] = (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) +
                   chunk(b"IEND", b""))


def make():
    rgb = Image.fromarray(picture(11, 13, 3))
    grey = Image.fromarray(picture(11, 13, 1)[..., 0])
    rgba = Image.fromarray(picture(11, 13, 4))
    palette = rgb.quantize(17)
    photo = Image.fromarray(picture(40, 53, 3))
    photo_alpha = Image.fromarray(picture(40, 53, 4))

    add("lossy.webp", photo, quality=60)
    add("lossy_alpha.webp", photo_alpha, quality=60)
    add("lossless.webp", photo, lossless=True)
    add("lossless_alpha.webp", photo_alpha, lossless=True, exact=True)
    add("animated.webp", photo, save_all=True, append_images=[photo.rotate(180)], quality=50)
    add("one_pixel.webp", Image.fromarray(picture(1, 1, 3)))

    add("baseline.jpg", photo, "JPEG", quality=70)
    add("progressive.jpg", photo, "JPEG", quality=70, progressive=True)
    add("grey.jpg", photo.convert("L"), "JPEG", quality=70)
    # Adobe's YCCK: PIL writes no such file, but one of inks whose planes are taken for Y, Cb, Cr and K by its marker.
    planes = 255 - np.dstack([np.asarray(photo.convert("YCbCr")), 255 - picture(40, 53, 1) // 4])
    for name, options in (("ycck.jpg", {}), ("ycck420.jpg", {"subsampling": "4:2:0"})):
        add(name, Image.frombytes("CMYK", photo.size, planes.tobytes()), "JPEG", quality=80, **options)
        FILES[name] = patched(FILES[name], FILES[name].index(b"Adobe") + 11, b"\2")
    # EXIF that is none, that ends within its header, whose directory is its own next, and whose orientation is 99.
    for name, exif in (("garbage", b"\xff\xd9 no TIFF"), ("short", b"II*"),
                       ("loop", b"II*\0\x08\0\0\0\0\0\x08\0\0\0"),
                       ("orientation", b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x63\0\0\0\0\0\0")):
        body = b"Exif\0\0" + exif
        jpeg = FILES["baseline.jpg"]
        FILES["exif_" + name + ".jpg"] = jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + jpeg[2:]
    # Twelve bits a sample, and the lossless process: a header is enough to be refused.
    frame = FILES["baseline.jpg"].index(b"\xff\xc0")
    FILES["twelve_bits.jpg"] = patched(patched(FILES["baseline.jpg"], frame + 1, b"\xc1"), frame + 4, b"\x0c")
    FILES["lossless.jpg"] = patched(FILES["baseline.jpg"], frame + 1, b"\xc3")
    add("two_pictures.jpg", photo, "MPO", save_all=True, append_images=[photo.rotate(180)], quality=70)

    add("animated.png", rgb, save_all=True, append_images=[rgb.rotate(180)], duration=10)
    add("animated_beside.png", rgb, save_all=True, append_images=[rgba, rgb.rotate(180)], default_image=True)
    add("exif.png", rgb, exif=b"II*\0\x08\0\0\0\xff\xff")

    add("palette.gif", palette)
    add("grey.gif", grey)
    add("interlaced.gif", palette.resize((53, 40)), interlace=1)
    add("plain.gif", palette.resize((53, 40)), interlace=0)
    add("transparent.gif", palette, transparency=3)
    add("animated.gif", palette, save_all=True, append_images=[palette.rotate(180)], duration=10)
    add("noisy.gif", Image.fromarray(np.random.default_rng(0).integers(0, 256, (97, 101), np.uint8)))
    # A frame smaller than its canvas, in a corner, with and without a transparent colour.
    small = FILES["palette.gif"]
    comma = small.index(b",", 13 + 3 * 32)
    for name, start in (("offset.gif", small[6:10]), ("offset_transparent.gif", small[6:10])):
        canvas = struct.pack("<HH", 20, 17)
        control = b"!\xf9\x04\x01\x00\x00\x05\x00" if "transparent" in name else b""
        head = small[:6] + canvas + small[10:comma]
        FILES[name] = head + control + b"," + struct.pack("<HH", 4, 3) + small[comma + 5:]

    for name, image in (("rgb", rgb), ("grey", grey), ("palette", palette), ("bilevel", grey.convert("1"))):
        add(name + ".bmp", image)
    raw = picture(11, 13, 4)
    entries = b"".join(struct.pack("BBBB", i * 16, 255 - i * 16, i * 3, 0) for i in range(16))
    nibbles = [bytes(int(v) & 0xFF for v in row[:7, 0]) for row in raw]
    bmp("bits4.bmp", 4, nibbles, palette=entries, colours=16)
    bmp("bits4_few_colours.bmp", 4, nibbles, palette=entries[:24], colours=6)
    bmp("bits1.bmp", 1, [bytes(row[:2, 0]) for row in raw], palette=entries[4:12], colours=2)
    bmp("bits16.bmp", 16, [row[:, :2].tobytes() for row in raw])
    bmp("bits32.bmp", 32, [row.tobytes() for row in raw])
    bmp("os2.bmp", 24, [row[:, :3].tobytes() for row in raw], header=12)
    bmp("top_down.bmp", 24, [row[:, :3].tobytes() for row in raw], height=-11)
    bmp("fields565.bmp", 16, [row[:, :2].tobytes() for row in raw], 3, masks=struct.pack("<III", 0xF800, 0x7E0, 0x1F))
    bmp("fields555.bmp", 16, [row[:, :2].tobytes() for row in raw], 3, masks=struct.pack("<III", 0x7C00, 0x3E0, 0x1F))
    bmp("fields_rgba.bmp", 32, [row.tobytes() for row in raw], 3, header=124,
        masks=struct.pack("<IIII", 0xFF, 0xFF00, 0xFF0000, 0xFF000000))
    bmp("fields_xbgr.bmp", 32, [row.tobytes() for row in raw], 3, header=56,
        masks=struct.pack("<IIII", 0xFF000000, 0xFF0000, 0xFF00, 0))
    bmp("fields_unknown.bmp", 32, [row.tobytes() for row in raw], 3, header=56,
        masks=struct.pack("<IIII", 0xFFF, 0xFF000, 0xFF00000, 0))
    runs8 = b"\x05\x07\x00\x04\x01\x02\x03\x04\x04\x09\x00\x00" * 5 + b"\x00\x02\x03\x01\x06\x0b\x00\x01"
    bmp("rle8.bmp", 8, [], 1, palette=entries, colours=16, height=5, data=runs8[:60])
    bmp("rle8_delta.bmp", 8, [], 1, palette=entries, colours=16, height=8,
        data=runs8[:60] + b"\x00\x02\x03\x01" + b"\x0a\x0b\x00\x00\x0d\x02\x00\x01")
    bmp("rle8_short.bmp", 8, [], 1, palette=entries, colours=16, height=8, data=runs8)
    bmp("rle4.bmp", 4, [], 2, palette=entries, colours=16, height=5,
        data=b"".join(b"\x05\x7a\x00\x05\x12\x34\x50\x00\x03\x9c\x00\x00" for _ in range(5)) + b"\x00\x01")

    def text(magic, *values):
        return (magic + "\n# a comment\n13 11\n" + " ".join(map(str, values))).encode()

    plain = picture(11, 13, 3).reshape(-1)
    single = picture(11, 13, 1).reshape(-1)
    wide = picture(11, 13, 3, 16)
    FILES["colours.ppm"] = text("P6", 255) + b"\n" + plain.tobytes()
    FILES["colours100.ppm"] = text("P6", 100) + b"\n" + (plain % 101).astype(np.uint8).tobytes()
    FILES["colours16.ppm"] = text("P6", 65535) + b"\n" + wide.astype(">u2").tobytes()
    FILES["colours1000.ppm"] = text("P6", 1000) + b"\n" + (wide % 1001).astype(">u2").tobytes()
    FILES["grey.pgm"] = text("P5", 255) + b"\n" + single.tobytes()
    FILES["grey16.pgm"] = text("P5", 65535) + b"\n" + (single.astype(">u2") * 3).tobytes()
    FILES["grey1000.pgm"] = text("P5", 1000) + b"\n" + (single.astype(">u2") * 3).tobytes()
    FILES["grey7.pgm"] = text("P5", 7) + b"\n" + (single % 8).tobytes()
    FILES["bits.pbm"] = b"P4 13 11\n" + single.tobytes()[:22]
    digits = [b"%d" % (v & 1) + (b"\n" if i % 9 == 0 else b"") for i, v in enumerate(single)]
    FILES["plain.pbm"] = b"P1\n13 11\n" + b"".join(digits)
    FILES["plain.pgm"] = text("P2", 255, *single)
    FILES["plain1000.pgm"] = text("P2", 1000, *(single.astype(int) * 3))
    FILES["plain.ppm"] = text("P3", 255, *plain)
    FILES["plain_too_large.ppm"] = text("P3", 200, *plain)
    FILES["plain_short.ppm"] = text("P3", 255, *plain[:-1])
    FILES["plain_no_number.ppm"] = text("P3", 255, *plain[:-1]) + b" x"
    FILES["no_maximum.pgm"] = b"P5\n2 2\n0\n1234"

    for name in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg", "zstd", "lzma"):
        add("rgb_%s.tif" % name, photo, compression=name)
    add("grey_lzw.tif", grey, compression="tiff_lzw")
    add("grey_jpeg.tif", Image.fromarray(picture(40, 53, 1)[..., 0]), compression="jpeg")
    add("palette.tif", palette, compression="tiff_lzw")
    add("bilevel_group4.tif", grey.convert("1"), compression="group4")
    add("bilevel.tif", grey.convert("1"))
    add("rgba.tif", rgba)
    add("grey_alpha.tif", Image.fromarray(picture(11, 13, 2), "LA"))
    add("cmyk.tif", Image.fromarray(picture(11, 13, 4), "CMYK"), compression="tiff_lzw")
    add("grey16.tif", Image.fromarray(picture(11, 13, 1)[..., 0].astype(np.uint16) * 3))
    add("signed32.tif", Image.fromarray(picture(11, 13, 1)[..., 0].astype(np.int32) * 3 - 100))
    add("float32.tif", Image.fromarray(picture(11, 13, 1)[..., 0].astype(np.float32) * 1.7 - 50))
    add("strips.tif", photo, compression="tiff_lzw", tiffinfo={278: 7})
    for orientation in range(2, 9):
        add("orientation%d.tif" % orientation, rgb, tiffinfo={274: orientation})
    add("two_pages.tif", rgb, save_all=True, append_images=[rgb.rotate(180)])

    def tiff(name, samples, bits, photometric, pixels, order="<", planar=1, extra=(), tile=None, fill=1, more=()):
        """Uncompressed; `pixels`: the bytes of each strip, tile or plane."""
        height, width = 11, 13
        entries = {256: (4, [width]), 257: (4, [height]), 258: (3, [bits] * samples), 259: (3, [1]),
                   262: (3, [photometric]), 266: (3, [fill]), 277: (3, [samples]), 284: (3, [planar])}
        if tile:
            entries.update({322: (4, [tile]), 323: (4, [tile]), 324: (4, None), 325: (4, [len(p) for p in pixels])})
        else:
            entries.update({273: (4, None), 278: (4, [height]), 279: (4, [len(p) for p in pixels])})
        if extra:
            entries[338] = (3, list(extra))
        entries.update(dict(more))
        offsets, data = [], b""
        for p in pixels:
            offsets.append(8 + len(data))
            data += p
        data += bytes(len(data) % 2)
        for tag in (273, 324):
            if tag in entries:
                entries[tag] = (4, offsets)
        late, directory = b"", b""
        base = 8 + len(data)
        late_base = base + 2 + 12 * len(entries) + 4
        for tag in sorted(entries):
            kind, values = entries[tag]
            packed = b"".join(struct.pack(order + ("H" if kind == 3 else "I"), v) for v in values)
            if len(packed) > 4:
                field = struct.pack(order + "I", late_base + len(late))
                late += packed
            else:
                field = packed.ljust(4, b"\0")
            directory += struct.pack(order + "HHI", tag, kind, len(values)) + field
        head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", base)
        FILES[name] = head + data + struct.pack(order + "H", len(entries)) + directory + bytes(4) + late

    wide4 = picture(11, 13, 4, 16)
    tiff("rgb16.tif", 3, 16, 2, [wide.astype("<u2").tobytes()])
    tiff("rgb16_big_endian.tif", 3, 16, 2, [wide.astype(">u2").tobytes()], ">")
    tiff("rgba16.tif", 4, 16, 2, [wide4.astype("<u2").tobytes()], extra=(2,))
    tiff("rgba_premultiplied.tif", 4, 8, 2, [raw.tobytes()], extra=(1,))
    tiff("rgbx.tif", 4, 8, 2, [raw.tobytes()], extra=(0,))
    tiff("rgb_planes.tif", 3, 8, 2, [raw[..., c].tobytes() for c in range(3)], planar=2)
    tiff("grey16_big_endian.tif", 1, 16, 1, [(single.astype(">u2") * 3).tobytes()], ">")
    tiff("grey16_min_is_white.tif", 1, 16, 0, [(single.astype("<u2") * 3).tobytes()])
    tiff("grey_min_is_white.tif", 1, 8, 0, [single.tobytes()])
    tiff("grey4.tif", 1, 4, 1, [single.tobytes()[:77]])
    tiff("grey2.tif", 1, 2, 0, [single.tobytes()[:44]])
    tiff("bits1_fill2.tif", 1, 1, 1, [single.tobytes()[:22]], fill=2)
    tiff("palette4.tif", 1, 4, 3, [single.tobytes()[:77]],
         more={320: (3, [(i * 4099) % 65536 for i in range(48)])}.items())
    tiff("cmyk16.tif", 4, 16, 5, [wide4.astype("<u2").tobytes()])
    tiles = np.zeros((16, 16, 3), np.uint8)
    tiles[:11, :13] = raw[..., :3]
    tiff("tiled.tif", 3, 8, 2, [tiles.tobytes()], tile=16)
    # Other numbers of channels.
    for channels in (2, 5, 12):
        values = picture(11, 13, channels)
        name = "bands%d.tif" % channels
        tiff(name, channels, 8, 1, [values.tobytes()], extra=(0,) * (channels - 1))
        STORED[name] = values
    bands6 = picture(11, 13, 6, 16)
    for name, kind, order in (("bands6_16.tif", "<u2", "<"), ("bands6_16_big_endian.tif", ">u2", ">")):
        tiff(name, 6, 16, 1, [bands6.astype(kind).tobytes()], order, extra=(0,) * 5)
        STORED[name] = (bands6 >> 8).astype(np.uint8)
    bands7 = picture(11, 13, 7)
    tiff("bands7_planes.tif", 7, 8, 1, [bands7[..., c].tobytes() for c in range(7)], planar=2, extra=(0,) * 6)
    STORED["bands7_planes.tif"] = bands7
    tiff("bands7_turned.tif", 7, 8, 1, [bands7.tobytes()], extra=(0,) * 6, more={274: (3, [6])}.items())
    STORED["bands7_turned.tif"] = np.rot90(bands7, -1)
    tiles5 = np.zeros((16, 16, 5), np.uint8)
    tiles5[:11, :13] = picture(11, 13, 5)
    tiff("bands5_tiled.tif", 5, 8, 1, [tiles5.tobytes()], tile=16, extra=(0,) * 4)
    STORED["bands5_tiled.tif"] = tiles5[:11, :13]
    tiff("bands4_float.tif", 4, 32, 1, [picture(11, 13, 4).astype("<f4").tobytes()], extra=(0,) * 3,
         more={339: (3, [3] * 4)}.items())
    STORED["cmyk.tif"] = picture(11, 13, 4)
    STORED["cmyk16.tif"] = (wide4 >> 8).astype(np.uint8)
    # As stored, where PIL divides by such an alpha or drops the fourth channel.
    STORED["rgba_premultiplied.tif"] = STORED["rgbx.tif"] = raw

    add("grey_alpha.png", Image.fromarray(picture(11, 13, 2), "LA"))
    add("rgba.png", rgba)
    add("rgb.png", rgb)
    png("grey_alpha16.png", 4, 16, picture(11, 13, 2, 16))
    STORED["grey_alpha16.png"] = (picture(11, 13, 2, 16) >> 8).astype(np.uint8)  # PIL makes it RGBA.
    png("rgba16.png", 6, 16, wide4)
    png("rgba_interlaced.png", 6, 8, raw, interlaced=True)
    add("palette_alpha.png", palette, transparency=bytes(range(0, 255, 15)))
    add("palette_key.png", palette, bits=4, transparency=3)
    for name in ("palette_alpha.png", "palette_key.png"):
        STORED[name] = np.asarray(Image.open(io.BytesIO(FILES[name])).convert("RGBA"))

    tiff("five_bits.tif", 1, 5, 1, [single.tobytes()])
    tiff("short_strip.tif", 3, 8, 2, [raw[..., :3].tobytes()[:-1]])
    tiff("signed16.tif", 1, 16, 1, [(single.astype("<i2") * 3 - 99).tobytes()], more={339: (3, [2])}.items())


def make_damaged():
    """Files that lack something after their last row, or have something odd, and that PIL takes or refuses."""
    photo = Image.fromarray(picture(40, 53, 3))
    baseline, restarts, progressive = io.BytesIO(), io.BytesIO(), io.BytesIO()
    photo.save(baseline, "JPEG", quality=70)
    photo.save(restarts, "JPEG", quality=70, restart_marker_rows=1)
    photo.save(progressive, "JPEG", quality=50, progressive=True, subsampling="4:2:0")
    whole, scans = baseline.getvalue(), progressive.getvalue()
    FILES["no_end_zeros.jpg"] = whole[:-2] + bytes(512)
    FILES["no_end_restarts.jpg"] = restarts.getvalue()[:-2] + bytes(512)
    FILES["no_end.jpg"] = whole[:-2]
    FILES["no_end_unknown.jpg"] = whole[:-2] + b"\xff\x02\0\0"
    FILES["tables_first.jpg"] = b"\xff\xd8\xff\xd9" + whole
    starts = [i for i in range(len(scans) - 1) if scans[i:i + 2] == b"\xff\xda"]
    for count in (1, 3, 5):
        FILES["scans%d.jpg" % count] = scans[:starts[count]] + b"\xff\xd9"

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    def png(width, height, kind, depth, compressed, before=b"", after=b""):
        header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
        return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + before + chunk(b"IDAT", compressed) + after +
                chunk(b"IEND", b""))

    row = picture(1, 700, 3).tobytes()
    small_window = bytearray(zlib.compress((b"\0" + row) * 20, 9))
    small_window[0], small_window[1] = 0x18, 0x19  # 512 bytes, where it reaches back 2101.
    FILES["window9.png"] = png(700, 20, 2, 8, bytes(small_window))
    lines = b"".join(b"\0" + line.tobytes() for line in picture(11, 13, 3))
    rows = png(13, 11, 2, 8, zlib.compress(lines))
    for cut in (12, 16, 18, 24):
        FILES["cut%d.png" % cut] = rows[:-cut]
    FILES["ends_early.png"] = png(13, 11, 2, 8, zlib.compress(lines[:6 * 40]))
    FILES["critical.png"] = png(13, 11, 2, 8, zlib.compress(lines), before=chunk(b"ABCD", b"x"))
    FILES["cut_chunk.png"] = png(13, 11, 2, 8, zlib.compress(lines), after=chunk(b"tEXt", b"a\0b"))[:-18]
    indices = b"".join(b"\0" + line.tobytes() for line in picture(11, 13, 1)[..., 0] % 16)
    table = picture(1, 32, 3).tobytes()
    FILES["palette_ends_early.png"] = png(13, 11, 3, 8, zlib.compress(indices[:6 * 14]), before=chunk(b"PLTE", table))
    FILES["palette_twice.png"] = png(13, 11, 3, 8, zlib.compress(indices),
                                     before=chunk(b"PLTE", table[:48]) + chunk(b"PLTE", table[48:]))

    FILES["offset_zero.bmp"] = patched(bmp24(), 10, bytes(4))
    greys = b"".join(bytes([i, i, i, 0]) for i in range(255))
    lines = [picture(1, 13, 1)[0, :, 0].tobytes() for _ in range(7)]
    bmp("grey_ramp.bmp", 8, lines, palette=greys, colours=255)
    bmp("grey_ramp_bits.bmp", 8, lines, palette=bytes(4) + b"\xff\xff\xff\0", colours=2)
    gif = FILES["plain.gif"]
    at = gif.index(b",", 13 + (3 << ((gif[10] & 7) + 1))) + 11
    FILES["empty_block.gif"] = gif[:at] + b"\0\0" + gif[at:]


def bmp24():
    bmp("rgb24.bmp", 24, [line.tobytes() for line in picture(7, 13, 3)])
    return FILES["rgb24.bmp"]


def main():
    make()
    make_damaged()
    index = []
    for name, data in sorted(FILES.items()):
        entry = {"file": name}
        try:
            image = Image.open(io.BytesIO(data)).convert("RGB")
            grey = Image.open(io.BytesIO(data)).convert("L")
            entry.update(height=image.height, width=image.width, sha256=hashlib.sha256(image.tobytes()).hexdigest(),
                         grey=hashlib.sha256(grey.tobytes()).hexdigest())
        except Exception as error:
            entry["error"] = type(error).__name__
        stored = STORED.get(name)
        if stored is None and "error" not in entry:
            opened = Image.open(io.BytesIO(data))
            if opened.format in ("PNG", "TIFF") and opened.mode in ("LA", "RGBA"):
                stored = np.asarray(opened)
        if stored is not None:
            height, width, channels = stored.shape
            entry.update(channels=channels, stored_height=height, stored_width=width,
                         stored=hashlib.sha256(stored.tobytes()).hexdigest())
        with open(os.path.join(HERE, name), "wb") as file:
            file.write(data)
        index.append(entry)
    with open(os.path.join(HERE, "index.json"), "w") as file:
        json.dump({"pillow": PIL.__version__, "files": index}, file, indent=1)
        file.write("\n")


if __name__ == "__main__":
    main()
