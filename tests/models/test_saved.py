"""What the configuration of a trained model says when it is saved."""

from transformers import BertConfig, LlamaConfig, ModernBertConfig

from hflm.models.writing import with_usual_cache


def test_a_configuration_says_of_the_cache_what_its_architecture_does() -> None:
    for config in (LlamaConfig(), BertConfig(), ModernBertConfig()):
        usual = config.to_diff_dict()
        config.use_cache = False
        with_usual_cache(config)
        assert config.to_diff_dict() == usual
