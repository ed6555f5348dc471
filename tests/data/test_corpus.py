"""The embedded corpus is there, readable, and evaluated on a book that is not trained on."""

import gzip

from hflm.data.corpus import embedded_corpus


def test_embedded_corpus() -> None:
    train, held_out = embedded_corpus()
    assert [path.name.split(".")[0] for path in train] == ["pride_and_prejudice", "sense_and_sensibility", "emma"]
    assert [path.name.split(".")[0] for path in held_out] == ["northanger_abbey"]
    for path in train + held_out:
        text = gzip.decompress(path.read_bytes()).decode("utf-8")
        assert len(text.split()) > 70_000
        assert all(line.strip() for line in text.splitlines()), "a paragraph a line"
        assert "Gutenberg" not in text
