"""Variants after the colon."""

import pytest

from mollax import recipes


def test_words_are_applied_in_order():
    config = recipes.variant(recipes.base(), "plain,smoke", plain=recipes.plain)
    assert config.name == "digits-plain-smoke"
    assert not config.mollify.enabled
    assert config.train.duration == "6 steps"


def test_no_words_change_nothing():
    assert recipes.variant(recipes.base(), "") == recipes.base()


def test_unknown_word_names_the_nearest():
    with pytest.raises(
        ValueError, match=r"config argument must be one of 'plain', 'smoke'; got 'smok'. Did you mean 'smoke'"
    ):
        recipes.variant(recipes.base(), "smok", plain=recipes.plain)


def test_words_are_applied_in_one_order_and_smoke_last():
    def first(config):
        config.optim.lr = 1.0

    def second(config):
        config.optim.lr *= 2.0

    for words in ("first,second", "second,first", "smoke,second,first"):
        config = recipes.variant(recipes.base(), words, first=first, second=second)
        assert config.optim.lr == 2.0
        assert config.name.endswith("-smoke") == ("smoke" in words)


def test_images_may_come_as_a_folder():
    config = recipes.base()
    recipes.read_images(config)
    assert (config.data.reader, config.data.channels) == ("folder", 3)
