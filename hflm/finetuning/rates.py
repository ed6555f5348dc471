"""The learning rate where nobody names one: small models bear, and need, a higher one."""

from typing import TYPE_CHECKING

from hflm.models.architecture import T5_LIKE

if TYPE_CHECKING:
    from transformers import PretrainedConfig

# Width of a model up to which a rate holds. BERT's authors took 2e-5 to 5e-5 at 768 and 1024 (Devlin et al. 2019,
# A.3); MiniLM, 384 wide, is more accurate on short reviews with 1e-4 than with 5e-5.
RATES = ((512, 1e-4), (768, 5e-5))
WIDER = 2e-5
# T5 was trained at high rates by its authors (Raffel et al. 2020), and moves little at those of others.
T5_RATE = 3e-4


def usual_rate(config: "PretrainedConfig") -> float:
    """Return a learning rate for all weights of a pretrained model, by its kind and its width."""
    if config.model_type in T5_LIKE:
        return T5_RATE
    width = int(getattr(config, "hidden_size", 0) or getattr(getattr(config, "encoder", None), "hidden_size", 768))
    return next((rate for most, rate in RATES if width <= most), WIDER)
