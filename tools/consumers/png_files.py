"""PNG files of every kind, most written here, where Pillow writes none of the kind; see picture_files.py."""

import itertools
import struct
import zlib

import numpy as np
from PIL import Image

from made_pixels import picture, saved

PNG_PASSES = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]


def chunk(kind, body, crc=None):
    checksum = zlib.crc32(kind + body) if crc is None else crc
    return struct.pack('>I', len(body)) + kind + body + struct.pack('>I', checksum)


def png_rows(values, bits, interlaced, filters):
    """Filtered rows of uint8 or uint16 [height, width, samples]; `filters` in turn."""
    pixel_bytes = max(1, bits * values.shape[2] // 8)
    lines = b''
    number = 0
    for top, left, down, right in PNG_PASSES if interlaced else [(0, 0, 1, 1)]:
        part = values[top::down, left::right]
        if part.size == 0:
            continue
        above = None
        for line in part.reshape(part.shape[0], -1):
            if bits == 16:
                row = np.frombuffer(line.astype('>u2').tobytes(), np.uint8)
            elif bits == 8:
                row = line.astype(np.uint8)
            else:
                shifted = np.unpackbits(line.astype(np.uint8)[:, None], axis=1)[:, 8 - bits:]
                row = np.packbits(shifted.reshape(-1))
            row = row.astype(int)
            above = np.zeros_like(row) if above is None else above
            left_of = np.concatenate([np.zeros(pixel_bytes, int), row])[:len(row)]
            corner = np.concatenate([np.zeros(pixel_bytes, int), above])[:len(row)]
            kind = filters[number % len(filters)]
            number += 1
            a, b, c = abs(above - corner), abs(left_of - corner), abs(left_of + above - 2 * corner)
            paeth = np.where((a <= b) & (a <= c), left_of, np.where(b <= c, above, corner))
            guess = (0, left_of, above, (left_of + above) // 2, paeth)[kind]
            lines += bytes([kind]) + ((row - guess) % 256).astype(np.uint8).tobytes()
            above = row
    return lines


def png(values, colour_type, bits, interlaced=False, filters=(0, 1, 2, 3, 4), before=b'', between=b'', after=b'',
        pieces=1, compressed=None, window=None, header=b''):
    height, width = values.shape[:2]
    if compressed is None:
        compressed = zlib.compress(png_rows(values, bits, interlaced, filters), 6)
    if window is not None:
        first = (window - 8) << 4 | 8
        compressed = bytes([first, 31 - (first << 8) % 31]) + compressed[2:]
    size = -(-len(compressed) // pieces)
    parts = [compressed[i:i + size] for i in range(0, len(compressed), size)]
    data = b'\x89PNG\r\n\x1a\n' + header
    data += chunk(b'IHDR', struct.pack('>IIBBBBB', width, height, bits, colour_type, 0, 0, int(interlaced)))
    return data + before + between.join(chunk(b'IDAT', part) for part in parts) + after + chunk(b'IEND', b'')


def png_files():
    files = {}
    kinds = [(0, b, 1) for b in (1, 2, 4, 8, 16)] + [(2, b, 3) for b in (8, 16)] + [(3, b, 1) for b in (1, 2, 4, 8)]
    kinds += [(4, b, 2) for b in (8, 16)] + [(6, b, 4) for b in (8, 16)]
    table = np.random.default_rng(3).integers(0, 256, 768).astype(np.uint8).tobytes()

    def values(colour_type, bits, samples, height, width):
        raw = picture(height, width, samples).reshape(height, width, samples).astype(int)
        if bits == 16:
            return np.where(raw % 7 == 0, raw, raw * 257).astype(np.uint16)
        return raw >> (8 - bits)

    number = 0
    for (colour_type, bits, samples), interlaced, (height, width) in itertools.product(
            kinds, (False, True), ((1, 1), (2, 3), (5, 4), (9, 13), (19, 21))):
        pixels = values(colour_type, bits, samples, height, width)
        before = chunk(b'PLTE', table[:3 << bits]) if colour_type == 3 else b''
        files[f'kind{number}.png'] = png(pixels, colour_type, bits, interlaced, before=before)
        number += 1
        if colour_type == 3:
            files[f'short{number}.png'] = png(pixels, colour_type, bits, interlaced, before=chunk(b'PLTE', table[:9]))
            files[f'alpha{number}.png'] = png(pixels, colour_type, bits, interlaced,
                                              before=before + chunk(b'tRNS', b'\0\x80\xff'[:1 << bits]))
    rgb = values(2, 8, 3, 19, 21)
    for interlaced in (False, True):
        whole = png(rgb, 2, 8, interlaced)
        for cut in list(range(1, 32)) + [40, 60, 100]:
            files[f'cut{cut}_{interlaced}.png'] = whole[:-cut]
        lines = png_rows(rgb, 8, interlaced, (0, 1, 2, 3, 4))
        for rows in (0, 1, 5, 10, 18):
            files[f'ends{rows}_{interlaced}.png'] = png(
                rgb, 2, 8, interlaced, compressed=zlib.compress(lines[:rows * 64]))
            for colour_type in (0, 3):  # What is not there is number 0, whatever its colour.
                numbers = values(colour_type, 8, 1, 19, 21)
                # Interlaced, rows of the first pass have 1 + 3 bytes.
                row = 4 if interlaced and rows < 2 else 22
                short = png_rows(numbers, 8, interlaced, (0, 1, 2, 3, 4))[:rows * row]
                files[f'ends{rows}_{colour_type}_{interlaced}.png'] = png(
                    numbers, colour_type, 8, interlaced, compressed=zlib.compress(short),
                    before=chunk(b'PLTE', table) if colour_type == 3 else b'')
        files[f'more_{interlaced}.png'] = png(rgb, 2, 8, interlaced, compressed=zlib.compress(lines + bytes(500)))
        compressed = zlib.compress(lines)
        files[f'adler_{interlaced}.png'] = png(rgb, 2, 8, interlaced, compressed=compressed[:-4] + b'abcd')
        files[f'junk_{interlaced}.png'] = png(rgb, 2, 8, interlaced, compressed=compressed + b'junk')
        files[f'pieces_{interlaced}.png'] = png(rgb, 2, 8, interlaced, pieces=9)
        files[f'empty_{interlaced}.png'] = png(rgb, 2, 8, interlaced, pieces=3, between=chunk(b'IDAT', b''))
        files[f'apart_{interlaced}.png'] = png(rgb, 2, 8, interlaced, pieces=3, between=chunk(b'tEXt', b'a\0b'))
        files[f'filter_{interlaced}.png'] = png(rgb, 2, 8, interlaced, compressed=zlib.compress(b'\7' + lines[1:]))
    flat = np.tile(picture(1, 700), (12, 1, 1))
    for window in range(8, 16):
        files[f'window{window}.png'] = png(flat, 2, 8, filters=(0,), window=window)
    indices = values(3, 4, 1, 9, 13)
    palette = chunk(b'PLTE', table[:48])
    for name, before in (
            ('twice', palette + chunk(b'PLTE', table[48:96])), ('none', b''), ('long', chunk(b'PLTE', table[:48] * 17)),
            ('uneven', chunk(b'PLTE', table[:47])), ('alphas', palette + chunk(b'tRNS', bytes(300))),
            ('alphas_first', chunk(b'tRNS', b'\0\1') + palette), ('header', palette + chunk(
                b'IHDR', struct.pack('>IIBBBBB', 13, 9, 4, 3, 0, 0, 0)))):
        files[f'palette_{name}.png'] = png(indices, 3, 4, before=before)
    for name, extra in (('critical', chunk(b'ABCD', b'x')), ('ancillary', chunk(b'abCd', b'x')), (
            'palette', palette), ('gamma', chunk(b'gAMA', b'\0\0\1\0')), ('gamma_short', chunk(b'gAMA', b'\0')),
            ('profile', chunk(b'iCCP', b'n\0\0' + zlib.compress(b'p'))), ('profile_empty', chunk(b'iCCP', b'')),
            ('profile_odd', chunk(b'iCCP', b'n\0\1x')), ('text', chunk(b'zTXt', b'k\0\0junk')), (
            'text_odd', chunk(b'zTXt', b'k\0\7junk')), ('size_short', chunk(b'pHYs', b'')), ('sum', chunk(
            b'tEXt', b'a\0b', 1)), ('digits', chunk(b'a1_2', b'')), ('name', chunk(b'a-b!', b'')), ('colour', chunk(
            b'tRNS', b'\0\1')), ('exif', chunk(b'eXIf', b'II*\0')), ('frames', chunk(b'acTL', struct.pack(
            '>II', 1, 0))), ('frame', chunk(b'fcTL', bytes(26))), ('srgb', chunk(b'sRGB', b'')), ('chroma', chunk(
            b'cHRM', b'1234'))):
        files[f'before_{name}.png'] = png(rgb, 2, 8, before=extra)
        files[f'after_{name}.png'] = png(rgb, 2, 8, after=extra)
        files[f'after_{name}_cut.png'] = png(rgb, 2, 8, after=extra)[:-14]
    files['header_last.png'] = png(rgb, 2, 8, header=chunk(b'tEXt', b'a\0b'))
    for name, kind in (('filters', (8, 2, 0, 1, 0)), ('method', (8, 2, 1, 0, 0)), ('interlace', (8, 2, 0, 0, 2)), (
            'depth', (3, 2, 0, 0, 0)), ('type', (8, 5, 0, 0, 0))):
        data = png(rgb, 2, 8)
        files[f'header_{name}.png'] = data[:8] + chunk(b'IHDR', struct.pack('>IIBBBBB', 21, 19, *kind)) + data[33:]
    image = Image.fromarray(picture(19, 21))
    files['animated.png'] = saved(image, 'PNG', save_all=True, append_images=[image.rotate(180)])
    files['animated_beside.png'] = saved(image, 'PNG', save_all=True, append_images=[image.rotate(180)],
                                         default_image=True)
    return files
