"""The YAML files of the experiments, one folder per group, one file per class or study; they ship with the package."""
