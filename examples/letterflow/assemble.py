"""Assembles letter.tiff from the scans that SOURCES.md names: assemble.py FOLDER-OF-SCANS letter.tiff

No picture is encoded again where its encoding can stand in a TIFF: the strips of the CCITT G4 page and the streams of the
JPEG pages are the scans' own bytes. Needs `convert` of ImageMagick and `tiffcp` of libtiff for the other two.
"""
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

SHORT, LONG, RATIONAL, ASCII = 3, 4, 5, 2


def directory_of(data):
    """The first directory of a TIFF: tag -> list of numbers."""
    order = {b"II": "<", b"MM": ">"}[data[:2]]
    (at,) = struct.unpack_from(order + "I", data, 4)
    (count,) = struct.unpack_from(order + "H", data, at)
    tags = {}
    for index in range(count):
        tag, kind, length = struct.unpack_from(order + "HHI", data, at + 2 + index * 12)
        code = {SHORT: "H", LONG: "I"}.get(kind)
        if code is None:
            continue
        place = at + 10 + index * 12
        if length * struct.calcsize(code) > 4:
            (place,) = struct.unpack_from(order + "I", data, place)
        tags[tag] = list(struct.unpack_from(f"{order}{length}{code}", data, place))
    return tags


def from_tiff(path, dpi):
    data = path.read_bytes()
    tags = directory_of(data)
    strips = [data[at : at + size] for at, size in zip(tags[273], tags[279])]
    keep = {tag: tags[tag] for tag in (256, 257, 258, 259, 262, 266, 277, 278, 317) if tag in tags}
    return keep, strips, dpi


def from_jpeg(path, dpi):
    """A whole JPEG stream as the one strip of a page (compression 7)."""
    data = path.read_bytes()
    at = 2
    while True:
        marker, size = struct.unpack_from(">HH", data, at)
        if marker in (0xFFC0, 0xFFC1, 0xFFC2):
            break
        at += 2 + size
    height, width, components = struct.unpack_from(">HHB", data, at + 5)
    sampling = data[at + 11]
    tags = {256: [width], 257: [height], 258: [8] * components, 259: [7], 277: [components], 278: [height]}
    tags[262] = [6] if components == 3 else [1]
    if components == 3:
        tags[530] = [sampling >> 4, sampling & 15]
    return tags, [data], dpi


def write(pages, out):
    data = bytearray(b"II*\0\0\0\0\0")
    link = 4
    for number, (tags, strips, dpi) in enumerate(pages):
        tags = {tag: (SHORT if max(values) < 65536 else LONG, values) for tag, values in tags.items()}
        offsets = []
        for strip in strips:
            data += b"\0" * (len(data) % 2)
            offsets.append(len(data))
            data += strip
        tags[254] = (LONG, [2])
        tags[273] = (LONG, offsets)
        tags[279] = (LONG, [len(strip) for strip in strips])
        tags[282] = tags[283] = (RATIONAL, [dpi, 1])
        tags[296] = (SHORT, [2])
        tags[297] = (SHORT, [number, len(pages)])
        data += b"\0" * (len(data) % 2)
        entries = b""
        for tag, (kind, values) in sorted(tags.items()):
            code = {SHORT: "H", LONG: "I", RATIONAL: "I"}[kind]
            value = struct.pack(f"<{len(values)}{code}", *values)
            if len(value) > 4:
                value, place = struct.pack("<I", len(data)), value
                data += place + b"\0" * (len(place) % 2)
            length = len(values) // 2 if kind == RATIONAL else len(values)
            entries += struct.pack("<HHI", tag, kind, length) + value.ljust(4, b"\0")
        struct.pack_into("<I", data, link, len(data))
        data += struct.pack("<H", len(tags)) + entries
        link = len(data)
        data += b"\0\0\0\0"
    out.write_bytes(data)


def main():
    scans, out = Path(sys.argv[1]), Path(sys.argv[2])
    with tempfile.TemporaryDirectory() as folder:
        temporary = Path(folder)
        keystone, lucasta, packed = temporary / "keystone.tif", temporary / "lucasta.tif", temporary / "lzw.tif"
        run = lambda *command: subprocess.run([str(part) for part in command], check=True)
        run("convert", scans / "keystone.png", "-monochrome", "-define", "tiff:rows-per-strip=1768", "-compress", "Group4", keystone)
        run("convert", scans / "lucasta.150.jpg", "-compress", "None", lucasta)
        run("tiffcp", "-c", "lzw:2", "-r", "64", lucasta, packed)
        write(
            [
                from_jpeg(scans / "congress.jpg", 170),
                from_tiff(keystone, 300),
                from_tiff(packed, 150),
                from_tiff(scans / "harmoniam-11.tif", 300),
                from_jpeg(scans / "cat.035.jpg", 200),
            ],
            out,
        )


main()
