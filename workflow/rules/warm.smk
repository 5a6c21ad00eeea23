"""The warm interpreter of this call: local rules run their commands in copies of one Python that has imported torch.

Requires: settings.smk.
"""

from unisono.warm.start import start


def warm_up():
    """Start it, where Snakemake itself runs the rules, in its own environment."""
    local = workflow.is_main_process and workflow.local_exec and not workflow.deployment_settings.deployment_method
    if SHARED.resources.warm_interpreter and local:
        start(PREFIX, results("logs/warm.log"))
