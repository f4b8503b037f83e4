import pytest

from benchmarks.page import BEGIN, END, PageError, check_page, write_results

BEFORE, AFTER = "# Performance\n\nProse | with pipes.\n\n", "\n\n## What is left\n\nMore prose.\n"


def test_the_generated_part_is_replaced_and_nothing_else(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"{BEFORE}{BEGIN}\nold\n{END}{AFTER}")
    write_results(page, "| a |\n")
    assert page.read_text() == f"{BEFORE}{BEGIN}\n\n| a |\n\n{END}{AFTER}"
    write_results(page, "| b |\n")
    assert page.read_text() == f"{BEFORE}{BEGIN}\n\n| b |\n\n{END}{AFTER}"
    assert list(tmp_path.iterdir()) == [page]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("prose", "0 times"),
        (f"{BEGIN}\n{BEGIN}\n{END}", "2 times"),
        (f"{END}\n{BEGIN}", "wrong order"),
        (None, "no file"),
    ],
)
def test_a_page_without_a_place_for_results_is_refused_and_left_alone(tmp_path, text, said):
    page = tmp_path / "page.md"
    if text is not None:
        page.write_text(text)
    with pytest.raises(PageError, match=said):
        check_page(page)
    with pytest.raises(PageError, match=said):
        write_results(page, "results")
    assert text is None or page.read_text() == text
