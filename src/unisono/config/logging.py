"""The section `logging`: other programs that the course of training is written for."""

from dataclasses import dataclass, fields

from unisono.config.markers import Section

# The key of each program -> the Python package that writes for it.
LIBRARIES = {"tensorboard": "tensorboardX", "mlflow": "mlflow", "wandb": "wandb"}


@dataclass(frozen=True, kw_only=True)
class LoggingOptions(Section):
    """Where dev objective, learning rate, speed and rejected workers are written besides our own files, while a run trains."""  # noqa: E501

    tensorboard: bool = False
    """Event files in results/<name>/runs/<run>/tensorboard/; needs tensorboardX."""
    mlflow: bool = False
    """A run for each run in results/<name>/mlflow.db; needs mlflow."""
    wandb: bool = False
    """Offline runs of Weights & Biases in results/<name>/wandb/, for `wandb sync`; needs wandb."""

    def on(self) -> list[str]:
        """Return the programs that are written for, by name."""
        return [field.name for field in fields(self) if getattr(self, field.name)]
