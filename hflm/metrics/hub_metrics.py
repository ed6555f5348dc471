"""The same metrics as `evaluate.Metric` classes, for who has code around that library; none asks the network."""

from typing import Any, ClassVar

import datasets
import evaluate

from hflm.metrics.registry import statistics

TEXT = datasets.Value("string")


class LocalMetric(evaluate.Metric):  # type: ignore[misc]
    """A metric of hflm: `compute(predictions=..., references=...)` returns its scores by name."""

    metric: ClassVar[str]
    feature: ClassVar[Any] = TEXT
    reference: ClassVar[Any] = None

    def _info(self) -> Any:
        return evaluate.MetricInfo(
            description=self.__doc__ or "", citation="", inputs_description="predictions and references, a row each",
            features=datasets.Features({"predictions": self.feature, "references": self.reference or self.feature}),
        )  # fmt: skip

    def _compute(self, predictions: Any = None, references: Any = None, **options: Any) -> dict[str, float]:
        return statistics(self.metric, predictions=predictions, references=references, **options).whole()


class Bleu(LocalMetric):
    """BLEU, chrF and chrF++ by sacreBLEU."""

    metric = "bleu"


class Rouge(LocalMetric):
    """ROUGE-1, -2, -L and -Lsum."""

    metric = "rouge"


class Classification(LocalMetric):
    """Accuracy, macro F1 and Matthews' correlation."""

    metric = "classification"


class Tagging(LocalMetric):
    """F1, precision and recall of entities, and accuracy of tags."""

    metric = "tagging"
    feature = datasets.Sequence(TEXT)


class Triples(LocalMetric):
    """F1, precision and recall of triples, strict and by boundary, written as `head | relation | tail`."""

    metric = "triples"


class Perplexity(LocalMetric):
    """Perplexity of rows given as [summed loss in nats, tokens]; references are the texts, or anything else."""

    metric = "perplexity"
    feature = datasets.Sequence(datasets.Value("float64"))
    reference = TEXT
