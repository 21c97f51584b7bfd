"""Every field of a settings dataclass is an option, and its default stands once."""

import argparse
import dataclasses

import pytest

from minibert.cli.settings import add_settings, read_settings
from minibert.training.settings import DataSettings, FinetuneSettings, TrainSettings

KINDS = (DataSettings, TrainSettings, FinetuneSettings)


@pytest.mark.parametrize("kind", KINDS)
def test_without_options_the_defaults(kind):
    parser = argparse.ArgumentParser()
    add_settings(parser, kind)
    assert read_settings(kind, parser.parse_args([])) == kind()


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_can_be_set(kind):
    parser = argparse.ArgumentParser()
    add_settings(parser, kind)
    for field in dataclasses.fields(kind):
        flag = f"--{field.name.replace('_', '-')}"
        by_kind = {int: 9, float: 0.25, bool: True}
        without_default = 0.25 if "float" in str(field.type) else 9
        value = by_kind.get(type(field.default), without_default)
        words = [flag] if value is True else [flag, str(value)]
        settings = read_settings(kind, parser.parse_args(words))
        assert settings == dataclasses.replace(kind(), **{field.name: value})
        assert field.metadata["help"].replace(" ", "") in parser.format_help().replace(
            "\n", ""
        ).replace(" ", "")


def test_an_omitted_field_and_another_default():
    parser = argparse.ArgumentParser()
    add_settings(parser, FinetuneSettings, omit=["seed"], learning_rate=3e-4)
    settings = read_settings(FinetuneSettings, parser.parse_args([]))
    assert settings == FinetuneSettings(learning_rate=3e-4)
    with pytest.raises(SystemExit):
        parser.parse_args(["--seed", "1"])
