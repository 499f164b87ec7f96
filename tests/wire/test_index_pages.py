"""Index pages, as the servers themselves write them."""

from damselfly.wire.index_pages import Link, parse_index_page

NGINX = """<html><head><title>Index of /d/</title></head><body>
<h1>Index of /d/</h1><hr><pre><a href="../">../</a>
<a href="deep/">deep/</a>                                   25-Nov-2026 06:54          -
<a href="a%20b.bin">a b.bin</a>                             25-Nov-2026 06:54      300000
</pre><hr></body></html>"""

APACHE = """<table><tr><th><a href="?C=N;O=D">Name</a></th></tr>
<tr><td><a href='x&amp;y.txt'>x&amp;y.txt</a></td>
<td align="right">2026-11-25 06:54  </td><td align="right">512 </td></tr>
<tr><td><A class=f HREF = "big">big</a></td><td>2026-11-25 06:54</td><td>1.2M</td></tr></table>"""

PYTHON = '<li><a href="f">f</a></li><li><a name="no-link">x</a></li>'


def test_index_of_nginx() -> None:
    assert parse_index_page(NGINX) == [
        Link("../"),
        Link("deep/", date="25-Nov-2026 06:54"),
        Link("a%20b.bin", 300000, "25-Nov-2026 06:54"),
    ]


def test_index_of_apache() -> None:
    assert parse_index_page(APACHE) == [
        Link("?C=N;O=D"),
        Link("x&y.txt", 512, "2026-11-25 06:54"),
        Link("big", None, "2026-11-25 06:54"),
    ]


def test_index_without_lengths() -> None:
    assert parse_index_page(PYTHON) == [Link("f")]
    assert parse_index_page("nothing") == []
