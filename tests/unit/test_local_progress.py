"""Progress reports: one line for each step where there is no terminal."""

from schemas.local.progress import PlainLines, reporter


def test_plain_lines_name_each_step_once(capsys):
    report = PlainLines()
    for done in (0.0, 0.5, 1.0):
        report("downloading", done)
    report("unpacking")
    assert capsys.readouterr().err == "downloading ...\nunpacking ...\n"


def test_bars_appear_on_a_terminal(monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("FORCE_COLOR", "1")
    with reporter() as report:
        report("downloading", 0.5)
        report("unpacking")
    written = capsys.readouterr().err
    assert "downloading" in written
    assert "unpacking" in written
    assert "━" in written
