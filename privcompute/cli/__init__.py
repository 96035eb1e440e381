"""The commands of privacy computing, mounted on `assent`: agent, dataset, grant, job."""
