"""The commands of privacy computing, mounted on `assent`: agent, dataset, grant, job."""

from privcompute.cli.agent_commands import agent
from privcompute.cli.dataset_commands import dataset
from privcompute.cli.grant_commands import grant
from privcompute.cli.job_commands import job

__all__ = ["agent", "dataset", "grant", "job"]
