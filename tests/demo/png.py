"""Makes a PNG small: at most 256 colours, by a palette. It reads what Chromium writes, 8 bits a channel, and refuses
all else."""

import struct
import zlib
from collections import Counter

SIGNATURE = b'\x89PNG\r\n\x1a\n'
CHANNELS = {2: 3, 6: 4}  # colour type: RGB, RGBA


def small(png):
    """The picture with its 256 most frequent colours; each other pixel has the nearest of these."""
    width, rows = decoded(png)
    pixels = [row[at:at + 3] for row in rows for at in range(0, len(row), len(row) // width)]
    counts = Counter(pixels)
    palette = [colour for colour, _ in counts.most_common(256)]
    index = {colour: nearest(colour, palette) for colour in counts}
    lines = (b'\0' + bytes(index[pixel] for pixel in pixels[at:at + width]) for at in range(0, len(pixels), width))
    header = struct.pack('>IIBBBBB', width, len(rows), 8, 3, 0, 0, 0)
    parts = ((b'IHDR', header), (b'PLTE', b''.join(palette)), (b'IDAT', zlib.compress(b''.join(lines), 9)), (b'IEND', b''))
    return SIGNATURE + b''.join(chunk(*part) for part in parts)


def nearest(colour, palette):
    return min(range(len(palette)), key=lambda at: sum((a - b) ** 2 for a, b in zip(colour, palette[at])))


def chunk(kind, data):
    return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))


def decoded(png):
    """Its width, and its rows of channels."""
    if not png.startswith(SIGNATURE):
        raise ValueError('not a PNG')
    at, data, header = len(SIGNATURE), b'', None
    while at < len(png):
        length, kind = struct.unpack('>I4s', png[at:at + 8])
        content = png[at + 8:at + 8 + length]
        if kind == b'IHDR':
            header = struct.unpack('>IIBBBBB', content)
        elif kind == b'IDAT':
            data += content
        at += length + 12
    width, height, depth, colours, _, _, interlaced = header
    if depth != 8 or colours not in CHANNELS or interlaced:
        raise ValueError(f'a PNG of another kind: {header}')
    return width, unfiltered(zlib.decompress(data), height, width * CHANNELS[colours], CHANNELS[colours])


def unfiltered(data, height, length, step):
    """The rows, each without its filter (PNG 9.2)."""
    rows, above = [], bytearray(length)
    for number in range(height):
        start = number * (length + 1)
        row = bytearray(data[start + 1:start + 1 + length])
        restore(data[start], row, above, step)
        rows.append(bytes(row))
        above = row
    return rows


def restore(kind, row, above, step):
    for at in range(len(row)) if kind else ():
        left, corner = (row[at - step], above[at - step]) if at >= step else (0, 0)
        guess = (left, above[at], (left + above[at]) // 2, paeth(left, above[at], corner))[kind - 1]
        row[at] = (row[at] + guess) & 255


def paeth(left, up, corner):
    guess = left + up - corner
    return min((left, up, corner), key=lambda value: abs(guess - value))
