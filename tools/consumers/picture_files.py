"""Small pictures of every format and of many kinds of each, whole and cut in the ways that real files are: made by
Pillow, or written here where it writes none of a kind. make_files() gives {name: bytes}, the same every time."""

import io
import itertools
import struct
import zlib

import numpy as np
from PIL import Image

from made_pixels import picture, saved
from png_files import png_files


def jpeg_files():
    files = {}
    kinds = [dict(subsampling=s, quality=q, progressive=p) for s, q, p in
             itertools.product(('4:4:4', '4:2:2', '4:2:0', '4:1:1'), (20, 75, 96), (False, True))]
    kinds += [dict(restart_marker_rows=1), dict(restart_marker_blocks=2, progressive=True), dict(optimize=True),
              dict(keep_rgb=True), dict(restart_marker_blocks=1, subsampling='4:2:0')]
    sizes = [(1, 1), (7, 9), (16, 17), (33, 40), (61, 50)]
    for number, (options, (height, width)) in enumerate(itertools.product(kinds, sizes)):
        files[f'colour{number}.jpg'] = saved(Image.fromarray(picture(height, width)), 'JPEG', **options)
    for number, (progressive, (height, width)) in enumerate(itertools.product((False, True), sizes)):
        grey = Image.fromarray(picture(height, width, 1))
        files[f'grey{number}.jpg'] = saved(grey, 'JPEG', progressive=progressive)
        ink = Image.fromarray(picture(height, width, 4), 'CMYK')
        files[f'ink{number}.jpg'] = saved(ink, 'JPEG', progressive=progressive)
        # Adobe's marker takes the planes for Y, Cb, Cr and K.
        data = files[f'ink{number}.jpg']
        at = data.index(b'Adobe') + 11
        files[f'ycck{number}.jpg'] = data[:at] + b'\2' + data[at + 1:]
    image = Image.fromarray(picture(40, 53))
    for number, options in enumerate((dict(progressive=True, subsampling='4:2:0', quality=50),
                                      dict(progressive=True, subsampling='4:2:2', quality=30),
                                      dict(progressive=True, subsampling='4:4:4'))):
        for height, width in ((40, 53), (90, 71)):
            whole = saved(Image.fromarray(picture(height, width)), 'JPEG', **options)
            scans = [i for i in range(len(whole) - 1) if whole[i:i + 2] == b'\xff\xda']
            for scan in range(1, len(scans)):
                files[f'scans{number}_{height}_{scan}.jpg'] = whole[:scans[scan]] + b'\xff\xd9'
    whole = {'baseline': saved(image, 'JPEG'), 'restarts': saved(image, 'JPEG', restart_marker_rows=1),
             'progressive': saved(image, 'JPEG', progressive=True), 'grey': saved(image.convert('L'), 'JPEG')}
    for name, data in whole.items():
        body = data[:-2]
        for tail_name, tail in (('nothing', b''), ('zeros', bytes(512)), ('ones', b'\xff' * 20), ('half', b'\xff'),
                                ('junk', b'junk'), ('restart', b'\xff\xd0'), ('scan', b'\xff\xda\0\x0c'),
                                ('comment', b'\xff\xfe\0\x06abcd\xff\xd9'), ('unknown', b'\xff\x02\0\0'),
                                ('start', b'\xff\xd8' + data[2:]), ('rest', b'\xff\xd9' + data)):
            files[f'{name}_{tail_name}.jpg'] = body + tail
        for front_name, front in (('tables', b'\xff\xd8\xff\xd9'), ('twice', b'\xff\xd8\xff\xd9' * 2),
                                  ('ones', b'\xff\xd8\xff\xff\xff')):
            files[f'{name}_after_{front_name}.jpg'] = front + (data if front_name != 'ones' else data[2:])
        for cut in (1, 3, 5, 9, 20, 60):
            files[f'{name}_cut{cut}.jpg'] = data[:-cut]
    files['tables_apart.jpg'] = saved(image, 'JPEG', streamtype=1) + saved(image, 'JPEG', streamtype=2)
    files['exif.jpg'] = saved(image, 'JPEG', exif=b'Exif\0\0II*\0\x08\0\0\0\0\0', comment='said')
    files['profile.jpg'] = saved(image, 'JPEG', icc_profile=bytes(70000))
    files['two.jpg'] = saved(image, 'MPO', save_all=True, append_images=[image.rotate(180)])
    return files


def gif_files():
    files = {}
    number = 0
    for colours, (height, width), interlace in itertools.product((2, 5, 16, 200), ((1, 1), (9, 13), (40, 31)), (0, 1)):
        image = Image.fromarray(picture(height, width)).quantize(colours)
        for options in ({}, {'transparency': 1}, {'transparency': 0, 'optimize': False}, {'comment': b'said'}):
            files[f'kind{number}.gif'] = saved(image, 'GIF', interlace=interlace, **options)
            number += 1
    grey = Image.fromarray(picture(21, 19, 1))
    files['grey.gif'] = saved(grey, 'GIF')
    whole = saved(Image.fromarray(picture(21, 19)).quantize(32), 'GIF')
    files['animated.gif'] = saved(grey, 'GIF', save_all=True, append_images=[grey.rotate(180)])
    for cut in list(range(1, 8)) + [20, 60]:
        files[f'cut{cut}.gif'] = whole[:-cut]
        files[f'cut{cut}_junk.gif'] = whole[:-cut] + b'junk'
    frame = whole.index(b',', 13 + 3 * 32)
    for name, place in (('inside', (2, 3, 19, 21)), ('larger', (0, 0, 19, 30)), ('smaller', (0, 0, 10, 10)), (
            'empty', (0, 0, 0, 21))):
        files[f'frame_{name}.gif'] = whole[:frame + 1] + struct.pack('<4H', *place) + whole[frame + 9:]
    screen = struct.pack('<2H', 30, 33)
    files['screen.gif'] = whole[:6] + screen + whole[10:]
    files['screen_transparent.gif'] = (whole[:6] + screen + whole[10:frame] + b'!\xf9\4\1\0\0\7\0' + whole[frame:])
    files['junk_between.gif'] = whole[:frame] + b'junk' + whole[frame:]
    files['no_palette.gif'] = whole[:10] + b'\0' + whole[11:13] + whole[13 + 96:]
    bits = frame + 10
    for value in (0, 1, 2, 4, 6, 8, 9, 12):
        files[f'code_size{value}.gif'] = whole[:bits] + bytes([value]) + whole[bits + 1:]
    return files


def bmp(bits, rows, width=13, height=None, header=40, compression=0, masks=b'', palette=b'', colours=0, offset=None):
    height = len(rows) if height is None else height
    body = b''.join(row + bytes(-len(row) % 4) for row in rows)
    if header == 12:
        info = struct.pack('<IHHHH', 12, width, height & 0xffff, 1, bits)
    else:
        info = struct.pack('<IiiHHIIiiII', header, width, height, 1, bits, compression, len(body), 0, 0, colours, 0)
        info += masks + bytes(max(0, header - 40 - len(masks))) if header > 40 else masks
    place = 14 + len(info) + len(palette) if offset is None else offset
    return b'BM' + struct.pack('<IHHI', 14 + len(info) + len(palette) + len(body), 0, 0, place) + info + palette + body


def bmp_files():
    files = {}
    source = np.random.default_rng(4)
    number = 0
    table = source.integers(0, 256, 1024).astype(np.uint8).tobytes()
    greys = b''.join(bytes([i, i, i, 0]) for i in range(256))
    black_white = bytes(4) + b'\xff\xff\xff\0'
    for bits, header, direction, offset in itertools.product((1, 4, 8, 16, 24, 32), (12, 40, 52, 56, 64, 108, 124),
                                                             (1, -1), (None, 0, 200, 14 + 40)):
        if header == 12 and direction < 0:
            continue
        rows = [source.integers(0, 256, (13 * bits + 7) // 8).astype(np.uint8).tobytes() for _ in range(7)]
        palette = b''
        if bits <= 8:
            palette = table[:(3 if header == 12 else 4) << bits]
        files[f'kind{number}.bmp'] = bmp(bits, rows, height=7 * direction, header=header, palette=palette,
                                         offset=offset)
        number += 1
    for bits, colours, palette in ((1, 2, black_white), (1, 0, black_white), (4, 16, greys[:64]), (8, 256, greys), (
            8, 0, greys), (8, 2, black_white), (8, 3, table), (4, 3, table), (8, 300, table + table), (1, 1, table), (
            8, 255, greys), (4, 2, black_white), (8, 70000, table), (4, 0, greys[:64])):
        rows = [source.integers(0, 256, (13 * bits + 7) // 8).astype(np.uint8).tobytes() for _ in range(7)]
        for offset in (None, 0):
            files[f'palette{number}.bmp'] = bmp(bits, rows, colours=colours, palette=palette, offset=offset)
            number += 1
    a, b, c, d = 0xff, 0xff00, 0xff0000, 0xff000000
    masks = {32: [(c, b, a, 0), (d, c, b, 0), (d, b, a, 0), (d, c, b, a), (a, b, c, d), (c, b, a, d), (d, b, a, c),
                  (0, 0, 0, 0), (a, b, c, 0)],
             24: [(c, b, a, 0), (a, b, c, 0)],
             16: [(0xf800, 0x7e0, 0x1f, 0), (0x7c00, 0x3e0, 0x1f, 0), (0xf00, 0xf0, 0xf, 0)]}
    for bits, layouts in masks.items():
        for layout, header, offset in itertools.product(layouts, (40, 52, 56, 64, 108, 124), (None, 0)):
            rows = [source.integers(0, 256, 13 * bits // 8).astype(np.uint8).tobytes() for _ in range(5)]
            count = 3 if header in (40, 52) else 4
            files[f'masks{number}.bmp'] = bmp(bits, rows, header=header, compression=3, offset=offset,
                                              masks=struct.pack(f'<{count}I', *layout[:count]))
            number += 1
    runs8 = b'\5\7\0\5' + b'abcde\0' + b'\3\1\0\0' + b'\x0d\2\0\0' + b'\0\2\3\1' + b'\4\3\0\0' + b'\x0d\4' * 9 + b'\0\1'
    runs4 = b'\5\x71\0\5' + b'abc\0' + b'\3\x12\0\0' + b'\x0d\x21\0\0' + b'\0\2\3\1' + b'\4\x32\0\0' + b'\x0d\x43' * 9
    for compression, bits, body in ((1, 8, runs8), (2, 4, runs4 + b'\0\1'), (1, 8, runs8[:-9]), (2, 4, runs4[:12])):
        for height, offset in ((7, None), (7, 0), (-7, None), (5, None), (60, None)):
            data = bmp(bits, [], height=height, compression=compression, palette=table[:4 << bits], offset=offset)
            files[f'runs{number}.bmp'] = data + body
            number += 1
    whole = bmp(24, [source.integers(0, 256, 39).astype(np.uint8).tobytes() for _ in range(7)])
    for cut in (1, 2, 39, 60):
        files[f'cut{cut}.bmp'] = whole[:-cut]
    return files


def tiff(width, height, tags, strips, big_endian=False):
    """Tags {number: (type, [values])}; the strips' places are filled in."""
    order = '>' if big_endian else '<'
    codes = {1: 'B', 3: 'H', 4: 'I'}
    tags = dict(tags) | {256: (4, [width]), 257: (4, [height]), 279: (4, [len(s) for s in strips])}
    tags[273] = (4, [0] * len(strips))
    at = 8 + 2 + 12 * len(tags) + 4
    extra = b''
    places = []
    body_at = at + sum((struct.calcsize(order + codes[t] * len(v)) + 1) // 2 * 2 for t, v in tags.values()
                       if struct.calcsize(order + codes[t] * len(v)) > 4)
    for strip in strips:
        places.append(body_at)
        body_at += len(strip)
    tags[273] = (4, places)
    entries = b''
    for number in sorted(tags):
        kind, values = tags[number]
        data = struct.pack(order + codes[kind] * len(values), *values)
        if len(data) > 4:
            entries += struct.pack(order + 'HHII', number, kind, len(values), at + len(extra))
            extra += data + bytes(len(data) % 2)
        else:
            entries += struct.pack(order + 'HHI', number, kind, len(values)) + data + bytes(4 - len(data))
    start = (b'MM\0*' if big_endian else b'II*\0') + struct.pack(order + 'I', 8)
    return start + struct.pack(order + 'H', len(tags)) + entries + bytes(4) + extra + b''.join(strips)


def tiff_files():
    files = {}
    number = 0
    grey, rgb = Image.fromarray(picture(21, 19, 1)), Image.fromarray(picture(21, 19))
    images = {'1': grey.convert('1', dither=0), 'L': grey, 'P': rgb.quantize(40), 'RGB': rgb,
              'RGBA': Image.fromarray(picture(21, 19, 4)), 'CMYK': Image.fromarray(picture(21, 19, 4), 'CMYK'),
              'LA': Image.fromarray(picture(21, 19, 2), 'LA'), 'YCbCr': rgb.convert('YCbCr'),
              'LAB': Image.frombytes('LAB', (19, 21), picture(21, 19).tobytes()),
              'I;16': Image.fromarray(picture(21, 19, 1).astype(np.uint16) * 3),
              'I': Image.fromarray(picture(21, 19, 1).astype(np.int32)),
              'F': Image.fromarray(picture(21, 19, 1).astype(np.float32))}
    for mode, compression in itertools.product(images, (None, 'packbits', 'tiff_lzw', 'tiff_adobe_deflate', 'jpeg',
                                                        'group3', 'group4', 'zstd', 'lzma', 'tiff_ccitt')):
        if compression in ('group3', 'group4', 'tiff_ccitt') and mode != '1':
            continue
        if compression == 'jpeg' and mode not in ('L', 'RGB', 'CMYK', 'YCbCr'):
            continue
        files[f'kind{number}_{mode.replace(";", "_")}_{compression}.tif'] = saved(
            images[mode], 'TIFF', compression=compression)
        number += 1
    for orientation in range(1, 9):
        files[f'turned{orientation}.tif'] = saved(rgb, 'TIFF', tiffinfo={274: orientation})
    for big_endian, (bits, samples, photometric), planar, rows in itertools.product(
            (False, True), ((1, 1, 0), (1, 1, 1), (2, 1, 1), (4, 1, 1), (4, 1, 0), (8, 1, 0), (8, 1, 1), (16, 1, 1), (
                8, 3, 2), (16, 3, 2), (8, 4, 2), (8, 4, 5), (8, 2, 1), (16, 4, 2)), (1, 2), (3, 11)):
        if planar == 2 and samples == 1:
            continue
        values = picture(11, 13, samples).reshape(11, 13, samples).astype(int)
        planes = [values] if planar == 1 else [values[..., s:s + 1] for s in range(samples)]
        strips = []
        for plane in planes:
            for top in range(0, 11, rows):
                part = plane[top:top + rows]
                if bits == 16:
                    strips.append((part * 257).astype('>u2' if big_endian else '<u2').tobytes())
                elif bits == 8:
                    strips.append(part.astype(np.uint8).tobytes())
                else:
                    lines = [np.packbits(np.unpackbits((row >> (8 - bits)).astype(np.uint8).reshape(-1, 1), axis=1)
                                         [:, 8 - bits:].reshape(-1)).tobytes() for row in part]
                    strips.append(b''.join(lines))
        tags = {258: (3, [bits] * samples), 259: (3, [1]), 262: (3, [photometric]), 277: (3, [samples]),
                278: (4, [rows]), 284: (3, [planar])}
        name = f'{"planes" if planar == 2 else "made"}{bits}_{number}'
        if samples == 2 or (samples == 4 and photometric == 2):
            for extra in (0, 1, 2):
                files[f'{name}_{extra}.tif'] = tiff(13, 11, tags | {338: (3, [extra])}, strips, big_endian)
        files[f'{name}.tif'] = tiff(13, 11, tags, strips, big_endian)
        number += 1
    whole = saved(rgb, 'TIFF', compression='tiff_lzw')
    for cut in (1, 5, 60):
        files[f'cut{cut}.tif'] = whole[:-cut]
    return files


def webp_files():
    files = {}
    number = 0
    for channels, (height, width), options in itertools.product(
            (3, 4), ((1, 1), (9, 13), (33, 40), (61, 50)),
            (dict(quality=10), dict(quality=80), dict(quality=95, method=0), dict(lossless=True), dict(
                lossless=True, quality=0, exact=True), dict(quality=50, exif=b'Exif\0\0II*\0'), dict(
                    quality=50, icc_profile=b'profile'), dict(quality=40, alpha_quality=10))):
        image = Image.fromarray(picture(height, width, channels))
        files[f'kind{number}.webp'] = saved(image, 'WEBP', **options)
        number += 1
    image = Image.fromarray(picture(33, 40, 4))
    files['animated.webp'] = saved(image, 'WEBP', save_all=True, append_images=[image.rotate(180)])
    for name in ('kind1', 'kind3', 'kind36'):
        whole = files[name + '.webp']
        for cut in (1, 2, 3, 8, 20):
            files[f'{name}_cut{cut}.webp'] = whole[:-cut]
        files[f'{name}_junk.webp'] = whole + b'junk'
        files[f'{name}_size.webp'] = whole[:4] + struct.pack('<I', len(whole)) + whole[8:]
    return files


def pnm_files():
    files = {}
    number = 0
    source = np.random.default_rng(5)
    for kind, most, header in itertools.product(
            range(1, 7), (1, 2, 15, 100, 254, 255, 256, 1000, 65535),
            ('P{} {} {} {}\n', 'P{}\n# said\n{} {}\n{}\n', 'P{}\n{}\n#a\n{} #b\n{}\n', 'P{}\t{}\r{}\n{} ')):
        if kind in (1, 4):
            if most != 1:
                continue
            head = header.rsplit('{}', 1)[0].rstrip(' \n#b') + '\n'
            head = head.format(f'{kind}', 13, 7)
        else:
            head = header.format(kind, 13, 7, most)
        samples = 3 if kind in (3, 6) else 1
        values = source.integers(0, most + 1, 13 * 7 * samples)
        if kind == 1:
            body = ' '.join(map(str, values)).encode()
        elif kind == 4:
            body = source.integers(0, 256, 2 * 7).astype(np.uint8).tobytes()
        elif kind in (2, 3):
            body = ' '.join(map(str, values)).encode() + b'\n'
        else:
            body = values.astype(np.uint8 if most < 256 else '>u2').tobytes()
        for name, data in (('', body), ('_cut', body[:-1]), ('_more', body + b'\n12')):
            files[f'kind{number}{name}.pnm'] = head.encode() + data
        number += 1
    return files


def make_files():
    files = {}
    for part in (jpeg_files(), png_files(), gif_files(), bmp_files(), tiff_files(), webp_files(), pnm_files()):
        for name, data in part.items():
            assert name not in files or files[name] == data, name
            files[name] = data
    return files
