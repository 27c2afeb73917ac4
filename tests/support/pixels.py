"""Prints the pixels of a PNG (8 bits of RGB or RGBA, not interlaced): width and height on a line of
their own, then three bytes each."""

import struct
import sys
import zlib

with open(sys.argv[1], "rb") as file:
    data = file.read()
assert data[:8] == b"\x89PNG\r\n\x1a\n", "not a PNG"
packed, at = b"", 8
while at < len(data):
    length, kind = struct.unpack(">I4s", data[at : at + 8])
    body = data[at + 8 : at + 8 + length]
    if kind == b"IHDR":
        width, height, depth, color, _, _, interlaced = struct.unpack(">IIBBBBB", body)
        assert depth == 8 and color in (2, 6) and not interlaced, body
    elif kind == b"IDAT":
        packed += body
    at += 12 + length
size = 3 if color == 2 else 4
scanlines, row = zlib.decompress(packed), bytes(width * size)
out = sys.stdout.buffer
out.write(b"%d %d\n" % (width, height))


def nearest(left, up, corner):
    """The one of three neighbours that is closest to what they suggest (Paeth's filter)."""
    guess = left + up - corner
    return min((left, up, corner), key=lambda neighbour: abs(guess - neighbour))


for y in range(height):
    line = scanlines[y * (width * size + 1) :][: width * size + 1]
    kind, above, row = line[0], row, bytearray(line[1:])
    for x in range(len(row)):
        left, corner = (row[x - size], above[x - size]) if x >= size else (0, 0)
        up = above[x]
        row[x] = (row[x] + (0, left, up, (left + up) // 2, nearest(left, up, corner))[kind]) & 255
    out.write(b"".join(row[x : x + 3] for x in range(0, len(row), size)))
