"""Formats told apart by their first bytes; a file's name is never believed."""

from __future__ import annotations


def sniff(head: bytes) -> str | None:
    """The format of a file from its first 64 bytes; None when it is none of ours."""
    if head.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "tiff"
    if head[4:8] == b"ftyp" and (b"avif" in head[8:64] or b"avis" in head[8:64]):
        return "avif"
    if head[:6] in (b"GIF87a", b"GIF89a"):
        return "gif"
    if head[:1] == b"P" and head[1:2] in b"123456" and head[2:3] in b" \t\r\n#" and head[2:3]:
        return "ppm"
    return None


def guess_foreign(head: bytes) -> str:
    """What a file that is not ours seems to be, in words for an error message."""
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if head[4:8] == b"ftyp":
        return "a HEIC picture or a video"
    for magic, what in (
        (b"%PDF", "a PDF"),
        (b"BM", "a BMP picture"),
        (b"PK", "a zip archive or office document"),
        (b"8BPS", "a Photoshop document"),
        (b"\xff\x0a", "a JPEG XL picture"),
        (b"\0\0\0\x0cJXL ", "a JPEG XL picture"),
        (b"\0\0\0\x0cjP  ", "a JPEG 2000 picture"),
        (b"\x1a\x45\xdf\xa3", "a Matroska video"),
    ):
        if head.startswith(magic):
            return what
    if text[:5].lower() in (b"<?xml", b"<svg ") or text[:4].lower() == b"<svg":
        return "XML or an SVG drawing"
    if text[:1] == b"<":
        return "HTML or XML"
    if head and all(32 <= byte < 127 or byte in b"\t\r\n" or byte > 127 for byte in head):
        return "text"
    return "no picture format that is known"
